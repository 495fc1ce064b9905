"""`tfx-mnist predict`: classifies image files with a released model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from components.serving_dir import Version, find, require_valid
from components.serving_dir.version import Trust
from pipeline.cli import logs, output, serving
from pipeline.cli.command import LOCAL_PATH, CommandError, Reply, command, option, verbose, whole
from pipeline.result import ExitCode
from trainer.host.text import percent

if TYPE_CHECKING:  # NumPy and Pillow stand behind it
    from components.serving_check.prediction import ImageError, Prediction


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
        predictions = _classify(found, images)
    described = [_describe(*pair) for pair in zip(images, predictions, strict=True)]
    refused = [f"{image['path']} {image['error']}" for image in described if image["error"]]
    fields = {"serving_dir": str(directory), "version": found.number, "images": described}
    exit_code = ExitCode.USAGE if refused else ExitCode.DONE
    return Reply(fields, _lines(found, described), exit_code, refused)


def _classify(version: Version, images: Sequence[Path]) -> list[Prediction | ImageError]:
    from components.serving_check.prediction import ModelError, classify

    names = (version.release.get("dataset") or {}).get("class_names") or ()
    try:
        return classify(list(images), version.path, names)
    except ModelError as error:
        raise CommandError(str(error)) from error


def _describe(path: Path, answer: Prediction | ImageError) -> dict[str, Any]:
    if isinstance(answer, Exception):
        return {"path": str(path), "error": str(answer)}
    # No copies, as `asdict` makes them: there is one for each image and class.
    probabilities = [vars(each) for each in answer.probabilities]
    return {"path": str(path), **vars(answer), "probabilities": probabilities, "error": None}


def _lines(version: Version, described: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield f"version {version.number} in {version.path}"
    for image in described:
        if not image["error"]:
            yield f"{image['path']}: {image['class_name']}"
            rows = [
                (f"  {each['class_name']}", f"{percent(each['probability']):>8}")
                for each in image["probabilities"]
            ]
            yield from output.table(rows)
