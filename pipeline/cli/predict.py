"""`tfx-mnist predict`: classifies image files with a released model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from components.serving_dir import Version, find, require_valid
from components.serving_dir.version import Trust
from pipeline.cli import logs, output, serving
from pipeline.cli.command import CommandError, Reply, command, option, verbose
from pipeline.cli.option_types import LOCAL_PATH, whole
from pipeline.result import ExitCode
from pipeline.runners.failures import limit_reached
from trainer.host.text import percent

if TYPE_CHECKING:  # NumPy and Pillow stand behind it
    from components.serving_check.classifier import ImageError, Prediction


@command(
    done="classified",
    failed="there is no such version, or it is damaged or cannot be loaded",
    usage="usage, no such serving directory, or images refused; the others are classified",
    shows=lambda _: True,
)
@click.argument("images", metavar="IMAGE...", type=LOCAL_PATH, nargs=-1, required=True)
@option(
    "--version",
    "V",
    "Version to use, which may be a withdrawn one (default: the live one).",
    type=whole(0),
)
@serving.options
@serving.trust_options
@verbose
def predict(
    directory: Path,
    images: Sequence[Path],
    version: int | None,
    trust: Trust | None,
    verbose: bool,
) -> Reply:
    """Classifies image files with the live model.

    Takes PNG and JPEG files, and shows the probability of each class. The files of the version are
    checked against its manifest before they are loaded; with --config or --public-key so is its
    signature.

    A model that resizes takes images of any size, also as BMP, GIF and WebP. Otherwise an image
    must have the size that the model takes. It is turned upright by its EXIF orientation, converted
    to grey or RGB as the model needs, and laid on black where it is transparent.
    """
    found = find(directory, version)
    require_valid(found, trust)
    with logs.quiet(show=verbose):
        described = [*map(_describe, images, _classify(found, images))]
    refused = [f"{image['path']} {image['error']}" for image in described if image["error"]]
    fields = {"serving_dir": str(directory), "version": found.number, "images": described}
    lines = [f"version {found.number} in {found.path}", *chain(*map(_lines, described))]
    return Reply(fields, lines, ExitCode.USAGE if refused else ExitCode.DONE, refused)


def _classify(version: Version, images: Sequence[Path]) -> Iterator[Prediction | ImageError]:
    from components.serving_check.classifier import ModelError, classify

    names = (version.release.get("dataset") or {}).get("class_names") or ()
    try:
        yield from classify(images, version.path, names)
    except ModelError as error:
        raise CommandError(limit_reached(error.__cause__ or error) or str(error)) from error


def _describe(path: Path, answer: Prediction | ImageError) -> dict[str, Any]:
    if isinstance(answer, Exception):
        return {"path": str(path), "error": str(answer)}
    # No copies, as `asdict` makes them: there is one for each image and class.
    probabilities = [vars(each) for each in answer.probabilities]
    return {"path": str(path), **vars(answer), "probabilities": probabilities, "error": None}


def _lines(image: Mapping[str, Any]) -> list[str]:
    if image["error"]:
        return []
    rows = [
        (f"  {each['class_name']}", f"{percent(each['probability']):>8}")
        for each in image["probabilities"]
    ]
    return [f"{image['path']}: {image['class_name']}", *output.table(rows)]
