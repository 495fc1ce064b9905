"""The page of `tfx-mnist monitor`: the tests, and the distributions side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.monitoring.counts import CONFIDENCE_EDGES, INTENSITY_EDGES, Summary, sizes_of
from pipeline.report import templates
from trainer.host.files import write_durably


@dataclasses.dataclass(frozen=True)
class Bar:
    """A bin or class: its name, and its share (0..1) at the release and now."""

    name: str
    before: float
    now: float


def write(
    path: Path,
    fields: Mapping[str, Any],
    released: Summary,
    observed: Summary,
    class_names: Sequence[str],
) -> None:
    """Writes the page completely or not at all; raises OSError.

    Args:
      fields: what `--json` prints.
    """
    pictures = dict(_pictures(released, observed, class_names))
    write_durably(path, templates.render("monitoring.html", found=fields, pictures=pictures))


def _pictures(
    released: Summary, observed: Summary, class_names: Sequence[str]
) -> Iterator[tuple[str, list[Bar]]]:
    yield "Predicted class", _bars(class_names, released.classes, observed.classes)
    confidence = _bars(_bins(CONFIDENCE_EDGES), released.confidence, observed.confidence)
    yield "Confidence: the largest probability", confidence
    if released.sizes and observed.sizes:
        intensity = _bars(_bins(INTENSITY_EDGES), released.intensity, observed.intensity)
        yield "Mean intensity of an image, 0 (black) to 1 (white)", intensity
        yield "Size: height and width in pixels", _bars(*sizes_of(released, observed))


def _bins(edges: np.ndarray) -> list[str]:
    return [f"from {low:.6g}" for low in (0.0, *edges)]


def _bars(names: Sequence[str], before: Sequence[int], now: Sequence[int]) -> list[Bar]:
    """Leaves out the bins in which there is nothing."""
    rows = sum(before), sum(now)
    pairs = zip(names, before, now, strict=True)
    return [Bar(name, old / rows[0], new / rows[1]) for name, old, new in pairs if old or new]
