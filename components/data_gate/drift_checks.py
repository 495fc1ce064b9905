"""Checks of train against the data of the last release: shape, classes, and looks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from components.data_gate.bounds import DataGateConfig
from components.example_gen.example_facts import GRID
from components.example_gen.examples_summary import ExamplesSummary, SplitSummary
from components.example_gen.image_set import TRAIN
from components.gate.check import Check
from components.monitoring.kolmogorov import kolmogorov
from trainer.host.text import p_value

_CHANCE = 0.001  # a distance that chance makes more often is no drift
_NO_RELEASE = "no release to compare with"  # none yet, or none that can be read


def drift_checks(
    summary: ExamplesSummary, released: ExamplesSummary | None, bounds: DataGateConfig
) -> Iterator[Check]:
    """Yields the checks; without a release, those that say that they are skipped.

    Images of another shape or of other classes look different for that reason: it is not checked.
    """
    alike = True
    if released is not None:
        shape = _shape_check(summary, released)
        alike = shape.passed and summary.class_names == released.class_names
        yield shape
    counts_before = None if released is None else class_counts(released)
    yield drift_check(class_counts(summary), counts_before, bounds.max_class_drift)
    if not alike:
        return
    before = None if released is None else released.splits[TRAIN]
    yield intensity_check(summary.splits[TRAIN], before, bounds.max_intensity_drift)
    if summary.resize:
        yield size_check(summary.splits[TRAIN], before, bounds.max_size_drift)


def drift_check(
    train: Mapping[str, int], released: Mapping[str, int] | None, bound: float
) -> Check:
    """Checks that no class's share of train changed by more than `bound`, 0..1, since the release.

    Both mappings hold the examples per class, in the order of the labels. Of few images a change
    that chance explains is no drift, by Fisher's exact test.
    """
    name = "data.drift"
    if released is None:
        return Check(name, True, None, bound, f"class drift skipped: {_NO_RELEASE}")
    if list(train) != list(released):
        # A label's meaning is its position, so another order is another set of classes.
        actual, required = classes_apart(list(train), list(released))
        sentence = (
            f"train: classes are not those of the last release: {actual}, expected {required}; "
            "release other classes to another --serving-dir"
        )
        return Check(name, False, actual, required, sentence)
    rows, released_rows = sum(train.values()), sum(released.values())
    if not rows or not released_rows:
        sentence = (
            f"train: {rows:,} examples, {released_rows:,} in the last release, expected some in "
            "each; look at the source"
        )
        return Check(name, False, None, bound, sentence)
    apart = {key: abs(train[key] / rows - released[key] / released_rows) for key in train}
    # Corrected for the number of tests (Bonferroni).
    chances = {
        key: min(1.0, len(train) * _chance(train[key], rows, released[key], released_rows))
        for key in train
        if apart[key] > bound
    }
    beyond = [key for key, chance in chances.items() if chance < _CHANCE]
    worst = max(beyond or apart, key=lambda key: apart[key])
    tested = f" ({p_value(chances[worst])})" if worst in chances else ""
    return Check.of(
        name,
        not beyond,
        apart[worst],
        bound,
        start=f"train: share of class {worst} went from {released[worst] / released_rows:.4f} to "
        f"{train[worst] / rows:.4f}{tested}, ",
        good=_allowed(bound),
        bad=f"expected at most {bound:g} apart; look at how the data was collected since the last "
        "release, or set data_gate.max_class_drift",
    )


def _allowed(bound: float) -> str:
    return f"at most {bound:g} apart is allowed, or what chance makes once in {1 / _CHANCE:g} times"


def _chance(part: int, rows: int, part_before: int, rows_before: int) -> float:
    """The p-value of Fisher's exact test for two shares."""
    from scipy import stats

    table = [[part, rows - part], [part_before, rows_before - part_before]]
    return float(stats.fisher_exact(table)[1])


def classes_apart(actual: Sequence[str], required: Sequence[str]) -> tuple[str, str]:
    """Says how lists of classes that are not equal differ: the actual one, and the expected."""
    new, gone = set(actual) - set(required), set(required) - set(actual)
    if len(actual) != len(required):
        apart = [("with", new), ("without", gone)]
        said = "".join(f", {word} {min(names)}" for word, names in apart if names)
        return f"{len(actual)} classes{said}", f"{len(required)}"
    if new:  # under a new name a class may stand at another place, which moves those between
        return f"with {min(new)}", min(gone)
    pairs = zip(actual, required, strict=True)
    label, (ours, theirs) = next((i, pair) for i, pair in enumerate(pairs) if pair[0] != pair[1])
    return f"label {label} is {ours}", theirs


def _shape_check(summary: ExamplesSummary, released: ExamplesSummary) -> Check:
    """The served model is the baseline, so it must be able to take the images of this set."""
    actual, required = (
        "x".join(map(str, one.image_shape)) + (" after resizing" if one.resize else "")
        for one in (summary, released)
    )
    if not summary.resize:  # a model that resizes takes these too
        required = required.removesuffix(" after resizing")
    height, width, channels = released.image_shape
    remedy = ", which takes no others; bring the images to that shape"
    if released.resize:
        remedy = f"; set data.image_size={height}x{width} and data.channels={channels}"
    elif summary.resize:
        remedy = (
            ", which takes no others; store the images as PNG of that shape and leave "
            "data.image_size and data.channels out"
        )
    return Check.of(
        "data.shape",
        actual == required,
        actual,
        required,
        start=f"train: image is {actual}, ",
        good="as in the last release",
        bad=f"expected {required} as in the last release{remedy}, or release to another "
        "--serving-dir",
    )


def class_counts(summary: ExamplesSummary) -> dict[str, int]:
    """Returns the examples of each class in train, in the order of the labels."""
    return dict(zip(summary.class_names, summary.splits[TRAIN].class_counts, strict=True))


def intensity_check(train: SplitSummary, released: SplitSummary | None, bound: float) -> Check:
    """Checks that the images look as in the last release: brightness, by regions too, and contrast.

    The contrast is left out if that release did not record it. The tests are those of Kolmogorov
    and Smirnov for two samples, on mean intensities and on standard deviations. Of many images any
    difference is beyond chance, so the distance itself is bounded; of few, a distance that chance
    explains is no drift.

    Args:
      train, released: released is None if nothing is.
      bound: largest accepted distance of two distribution functions, 0..1.
    """
    name = "data.intensity"
    if released is None or not (released.intensities and released.regions):
        why = _NO_RELEASE if released is None else "the last release did not record it"
        return Check(name, True, None, bound, f"drift of the mean intensity skipped: {why}")
    looks = ((one.intensities, *one.regions, one.contrasts) for one in (released, train))
    pairs = [pair for pair in zip(*looks, strict=True) if all(pair)]
    found = [kolmogorov(*pair) for pair in pairs]
    # The tests' chances are corrected for their number (Bonferroni).
    drifts = [
        distance if chance * len(found) < _CHANCE else min(distance, bound)
        for distance, chance in found
    ]
    worst = max(range(len(found)), key=lambda at: (drifts[at], found[at][0]))
    if drifts[0] > bound:
        worst = 0  # the whole image says it more plainly than a region
    distance, chance = found[worst]
    return Check.of(
        name,
        drifts[worst] <= bound,
        distance,
        bound,
        start=f"train: the images' {_look(worst)} are {distance:.4f} apart from those of "
        f"the last release ({p_value(min(1.0, chance * len(found)))}), ",
        good=_allowed(bound),
        bad=f"expected at most {bound:g}; look at how the images were taken since, or set "
        "data_gate.max_intensity_drift",
    )


def size_check(train: SplitSummary, released: SplitSummary | None, bound: float) -> Check:
    """Checks that the images as stored are as large as in the last release, by the same test."""
    name = "data.size_drift"
    if released is None or not released.size_counts:
        why = _NO_RELEASE if released is None else "the last release did not record it"
        return Check(name, True, None, bound, f"drift of the sizes skipped: {why}")
    distance, chance = kolmogorov(released.size_counts, train.size_counts)
    return Check.of(
        name,
        distance <= bound or chance >= _CHANCE,
        distance,
        bound,
        start=f"train: the images' sizes are {distance:.4f} apart from those of the last release "
        f"({p_value(chance)}), ",
        good=_allowed(bound),
        bad=f"expected at most {bound:g}; look at where the images came from since, or set "
        "data_gate.max_size_drift",
    )


def _look(at: int) -> str:
    """Names one of the distributions: of the whole image, of the regions, and of the contrast."""
    if at > GRID * GRID:
        return "contrasts (standard deviations)"
    row, column = divmod(at - 1, GRID)
    where = f" in row {row + 1} and column {column + 1} of a grid of {GRID}" if at else ""
    return f"mean intensities{where}"
