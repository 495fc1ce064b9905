"""Checks of how images were stored, for sets that are resized: what the network no longer sees.

Sizes and colours often tell where an image came from. If one class came from another camera, a
network learns the camera, and is right about a test split that has the same fault.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from components.data_gate.bounds import DataGateConfig
from components.example_gen.examples_summary import ExamplesSummary
from components.example_gen.image_set import TRAIN
from components.gate.check import Check
from trainer.host.text import percent


def format_checks(
    summary: ExamplesSummary, released: ExamplesSummary | None, bounds: DataGateConfig
) -> Iterator[Check]:
    """Yields the checks of a set that is resized; a set of one shape has none of them."""
    if not summary.resize:
        return
    yield _sizes_check(summary, released, bounds.max_size_factor)
    if summary.image_shape[2] == 3:
        yield _grey_check(summary, bounds.max_grey)
    yield _leak_check(summary, bounds.max_size_leak)


def _sizes_check(summary: ExamplesSummary, released: ExamplesSummary | None, bound: float) -> Check:
    """Checks that no image is far larger or smaller than the median of train, or of the release."""
    found = {name: split.sizes for name, split in summary.splits.items() if split.sizes}
    before = released is not None and released.splits[TRAIN].sizes
    median = median_size(summary, released)
    smallest = min((sizes[0] for sizes in found.values()), key=math.prod)
    largest = max((sizes[2] for sizes in found.values()), key=math.prod)
    factor = max(_times(largest, median), _times(median, smallest))
    whose = "the last release" if before else "train"
    return Check.of(
        "data.sizes",
        factor <= bound,
        factor,
        bound,
        start=f"images are {_text(smallest)} to {_text(largest)} pixels, and the median of {whose} "
        f"is {_text(median)}: {factor:.1f} times larger or smaller along a side, ",
        good=f"at most {bound:g} is allowed",
        bad=f"expected at most {bound:g}; remove the images of unusual sizes, or set "
        "data_gate.max_size_factor",
    )


def median_size(summary: ExamplesSummary, released: ExamplesSummary | None) -> tuple[int, int]:
    """Returns (height, width) of the median image of the last release's train, or of train."""
    before = released.splits[TRAIN].sizes if released else None
    sizes = before or summary.splits[TRAIN].sizes
    return sizes[1] if sizes else summary.image_shape[:2]


def _times(size: tuple[int, int], other: tuple[int, int]) -> float:
    return math.sqrt(math.prod(size) / math.prod(other))


def _text(size: tuple[int, int]) -> str:
    return "x".join(map(str, size))


def _grey_check(summary: ExamplesSummary, bound: float) -> Check:
    """Checks that few images of a coloured set have no colour; all of them are no mixture."""
    shares = grey_shares(summary)
    worst = max(shares, key=lambda name: shares[name])
    split, share = summary.splits[worst], shares[worst]
    if all(each == 1 for each in shares.values()):
        sentence = "all images are grey; data.channels=1 makes a smaller network of them"
        return Check("data.grey", True, None, bound, sentence)
    return Check.of(
        "data.grey",
        share <= bound,
        share,
        bound,
        start=f"{worst}: {split.grey or 0:,} of {split.rows:,} images are grey among coloured ones "
        f"({percent(share)}), ",
        good=f"at most {percent(bound)} is allowed",
        bad=f"expected at most {percent(bound)}; look where they come from, make all images grey "
        "with data.channels=1, or set data_gate.max_grey",
    )


def grey_shares(summary: ExamplesSummary) -> dict[str, float]:
    """Returns the share of the images without colour, 0..1, by split."""
    return {name: (split.grey or 0) / split.rows for name, split in summary.splits.items()}


def _leak_check(summary: ExamplesSummary, bound: float) -> Check:
    """Checks that no class is told from the others by the size and the colour of its images."""
    tells = summary.size_tells
    worst = max(range(len(tells)), key=lambda label: tells[label])
    name, value = summary.class_names[worst], tells[worst]
    found = (
        f"size and colour alone tell class {name} from the others: the share of its images that "
        f"they recognize exceeds that of other images by {value:.2f} at least, where chance gives 0"
    )
    return Check.of(
        "data.size_leak",
        value <= bound,
        value,
        bound,
        start="" if value > 0 else "no class is told from the others by size and colour alone, ",
        good=f"{found}, and at most {bound:g} is allowed"
        if value > 0
        else f"at most {bound:g} is allowed",
        bad=f"{found}, expected at most {bound:g}: a network may learn the source of an image "
        "instead of its class; bring all classes from the same sources, or set "
        "data_gate.max_size_leak",
    )
