"""The examples that a gate shows to people: a file of its artifact, which the report reads.

    write(Pictures({"wrong": [picture]}, examined=10_000), Path(blessing.uri))
    read(Path(blessing.uri)).groups["wrong"]

No decision depends on it.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import TypeAdapter

FILE = "pictures.json"
MAX_SIDE = 64  # pixels of a picture
ANSWERS = 3  # classes that are named with their probability
# Of what made a check of the data fail, so many are drawn, and so many are named.
DRAWN, NAMED = 60, 10_000

# The groups of examples. Those of a check that failed bear its name, such as "data.sizes".
WRONG = "wrong"  # the candidate predicts another class than the label
LOST = "lost"  # wrong, and the served model is right
GAINED = "gained"  # right, and the served model is wrong
LABEL_ERRORS = "label_errors"  # the label itself is likely to be wrong
NEAR_DUPLICATES = "near_duplicates"  # of test, each beside its like in train or eval

Answers = tuple[tuple[str, float], ...]  # (class, probability), the most probable first


@dataclasses.dataclass(frozen=True)
class Picture:
    """An example.

    Attributes:
      row: its number in the split as ExampleGen wrote it, from 0.
      sha256: hexadecimal, of its pixels (`example_facts.image_names`), which names it.
      label: the class that it is given as.
      png: base64, at most `MAX_SIDE` pixels high and wide; empty where it is only named.
      looks_like: the class that it is taken for instead, if any.
      margin: the score of that class less the label's; probabilities in the test split.
      candidate: the model's answers; empty where no model was asked, or one of them is no number.
      baseline: those of the served model.
      files: hexadecimal SHA-256 of the files of the images that are seen; none where its source has
        no files.
    """

    split: str
    row: int
    sha256: str
    label: str
    png: str
    looks_like: str = ""
    margin: float = 0.0
    candidate: Answers = ()
    baseline: Answers = ()
    files: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Bin:
    """The examples whose confidence, the highest probability, lies in one interval."""

    rows: int
    confidence: float
    accuracy: float


@dataclasses.dataclass(frozen=True)
class Pictures:
    """The examples of a split by group, the clearest first.

    Attributes:
      examined: number of examples that were looked at.
      bins: of the confidence in equal intervals of 0..1, without the empty ones.
    """

    groups: Mapping[str, tuple[Picture, ...]]
    examined: int
    bins: tuple[Bin, ...] = ()

    @property
    def calibration_error(self) -> float | None:
        """The expected calibration error (Guo et al. 2017, ICML, section 2): the mean distance of
        accuracy and confidence, 0..1, over the examples.
        """
        rows = sum(each.rows for each in self.bins)
        if not rows:
            return None
        return sum(each.rows * abs(each.accuracy - each.confidence) for each in self.bins) / rows


def write(pictures: Pictures, directory: Path) -> None:
    """Writes the file into the directory of an artifact."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / FILE).write_text(json.dumps(dataclasses.asdict(pictures)), encoding="utf-8")


def read(directory: Path) -> Pictures | None:
    """Reads what `write` wrote; None where there is no such file."""
    try:
        content = (directory / FILE).read_bytes()
    except FileNotFoundError:
        return None
    return TypeAdapter(Pictures).validate_json(content)


def thumbnail(pixels: npt.NDArray[np.uint8]) -> str:
    """Returns an image, [H, W, 1 or 3], as PNG in base64, made smaller if it is large."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


def answers(probabilities: npt.NDArray[np.floating], class_names: Sequence[str]) -> Answers:
    """Returns the most probable of the classes; none if a probability, [K], is not finite."""
    if not np.isfinite(probabilities).all():
        return ()
    best = np.argsort(-probabilities, kind="stable")[:ANSWERS]
    return tuple((class_names[label], round(float(probabilities[label]), 6)) for label in best)
