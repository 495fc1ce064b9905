"""`tfx-mnist predict`: classifies image files with a released model."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.serving_dir import Version, find, require_valid
from pipeline.cli import logs, output, serving
from pipeline.cli.command import (
    USAGE_ERROR,
    Command,
    CommandError,
    Parser,
    local_path,
    whole_number,
)

if TYPE_CHECKING:  # NumPy and Pillow stand behind it
    from components.serving_check.prediction import ImageError, Prediction


def _add_options(parser: Parser) -> None:
    parser.add_argument(
        "images", metavar="IMAGE", type=local_path, nargs="+", help="a PNG or JPEG file"
    )
    parser.add_argument(
        "--version",
        metavar="V",
        type=whole_number(0),
        help="the version that classifies, be it withdrawn or not (default: the live one)",
    )
    serving.add_options(parser)
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="show the libraries' logs on stderr"
    )


def _execute(options: argparse.Namespace) -> int:
    directory = serving.serving_dir(options)
    version = find(directory, options.version)
    require_valid(version)
    with logs.quiet(show=options.verbose):
        answers = _classify(version, options.images)
    described = [_describe(*pair) for pair in zip(options.images, answers, strict=True)]
    refused = [f"{image['path']} {image['error']}" for image in described if image["error"]]
    if options.json:
        fields = {"serving_dir": str(directory), "version": version.number, "images": described}
        output.say_json({**fields, "error": "; ".join(refused) or None})
    else:
        output.say(_lines(version, described))
    for line in refused:
        output.complain(line)
    return USAGE_ERROR if refused else 0


def _classify(version: Version, images: Sequence[str]) -> list[Prediction | ImageError]:
    # TensorFlow takes all memory of a GPU, and the server may want it; for some images the CPU is
    # as fast.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    from components.serving_check.prediction import ModelError, classify

    try:
        return classify(list(map(Path, images)), version.path, _class_names(version))
    except ModelError as error:
        raise CommandError(str(error)) from error


def _class_names(version: Version) -> Sequence[str]:
    """In the order of the labels; none where the release record does not hold them."""
    dataset = version.manifest.release.get("dataset") if version.manifest else None
    names = dataset.get("class_names") if isinstance(dataset, Mapping) else None
    return names if isinstance(names, list) else ()


def _describe(path: str, answer: Prediction | ImageError) -> dict[str, Any]:
    if isinstance(answer, Exception):
        return {"path": path, "error": str(answer)}
    return {"path": path, **dataclasses.asdict(answer), "error": None}


def _lines(version: Version, described: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield f"version {version.number} in {version.path}"
    for image in described:
        if not image["error"]:
            yield f"{image['path']}: {image['class_name']}"
            rows = [
                (f"  {each['class_name']}", f"{each['probability']:7.2%}")
                for each in image["probabilities"]
            ]
            yield from output.table(rows)


COMMAND = Command(
    name="predict",
    help="classify image files with the live model",
    description="Classifies PNG and JPEG files, and shows how probable each class is. The files of "
    "the\nversion are checked against its manifest before they are loaded.\n\n"
    "An image must have the size that the model takes. It is turned upright by its EXIF\n"
    "orientation, made grey or RGB as the model takes it, and laid on black where it is\n"
    "transparent.",
    add_options=_add_options,
    execute=_execute,
    shows=lambda _: True,
    exit_codes={
        0: "classified",
        1: "there is no such version, or it is damaged or cannot be loaded",
        2: "usage, no such serving directory, or images refused; the others are classified",
    },
)
