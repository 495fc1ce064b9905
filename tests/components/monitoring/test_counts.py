import itertools
import json
from collections import Counter

import numpy as np
import pytest

from components.monitoring.counts import (
    CONFIDENCE_EDGES,
    INTENSITY_EDGES,
    Key,
    Summary,
    counts_of,
    size_of,
    summarize,
)

PROBABILITIES = np.array([[0.9, 0.1, 0.0], [0.25, 0.3, 0.45], [1.0, 0.0, 0.0]], np.float32)
SUMMARY = summarize(PROBABILITIES, intensities=[0.1, 0.5, 1.0], sizes=["28x28", "9x28", "28x28"])


def test_it_counts_classes_confidence_intensity_and_sizes() -> None:
    assert (SUMMARY.rows, SUMMARY.classes) == (3, (2, 0, 1))
    assert SUMMARY.sizes == {"28x28": 2, "9x28": 1}
    assert [at for at, rows in enumerate(SUMMARY.intensity) if rows] == [20, 100, 199]
    # 0.45 (0.44999... as float32) lies from 0.4 on, and 1 beyond the last edge.
    bins = [at for at, rows in enumerate(SUMMARY.confidence) if rows]
    assert CONFIDENCE_EDGES[bins[0]] == pytest.approx(0.45)
    assert bins[-1] == len(CONFIDENCE_EDGES)


def test_the_edges_rise() -> None:
    for edges in (CONFIDENCE_EDGES, INTENSITY_EDGES):
        assert all(low < high for low, high in itertools.pairwise(edges))


def test_predictions_alone_have_no_images() -> None:
    summary = summarize(PROBABILITIES)
    assert (summary.intensity, summary.sizes) == ((), {})


def test_predictions_that_are_not_finite_are_those_without_confidence() -> None:
    summary = summarize(np.array([[np.nan, 0.5], [0.0, 1.0]]))
    assert (summary.classes, summary.confidence[0]) == ((1, 1), 1)


@pytest.mark.parametrize("summary", [SUMMARY, summarize(PROBABILITIES[:1])])
def test_it_is_read_again_from_json(summary: Summary) -> None:
    assert Summary.from_json(json.loads(json.dumps(summary.to_json()))) == summary


@pytest.mark.parametrize(
    "changes",
    [
        *({"rows": 4}, {"rows": 2}, {"classes": [-1, 4]}, {"confidence": [3]}, {"sizes": {}}),
        *({"intensity": None}, {"sizes": {"28": 3}}, {"sizes": {"28x28": 3, "28": 1}}),
        *({"sizes": {"28x28": 2}}, summarize(np.empty((0, 3))).to_json()),
        # Counts of another number of images than the others.
        *({"classes": [2, 0, 2]}, {"confidence": [4] + [0] * 42}, {"intensity": [4] + [0] * 199}),
        # Their sum is right, but they count nothing.
        *({"confidence": [4, -1] + [0] * 41}, {"intensity": [1.5, 1.5] + [0] * 198}),
        {"sizes": {"28x28": 4, "9x28": -1}},
    ],
)
def test_what_is_no_summary_is_refused(changes: dict) -> None:
    record = json.loads(json.dumps({**SUMMARY.to_json(), **changes}))
    with pytest.raises(ValueError, match="it is no summary of a test split"):
        Summary.from_json(record)


def test_the_bins_are_those_in_which_releases_were_counted() -> None:
    steps = [0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8]
    decades = [1e-2, 1e-3, 1e-4, 1e-5, 1e-6]
    assert CONFIDENCE_EDGES[:17].tolist() == [*steps, 0.85, 0.9]
    assert CONFIDENCE_EDGES[21::5] == pytest.approx([1 - left for left in decades], abs=1e-12)
    assert (len(CONFIDENCE_EDGES), len(INTENSITY_EDGES)) == (42, 199)


def test_a_size_is_height_by_width() -> None:
    assert size_of(28, 32) == "28x32"


def test_an_array_is_counted_as_its_rows_are() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(3, 0.02), size=500).astype(np.float32)
    probabilities[:2] = [[np.nan, 0, 1], [0.5, 0.25, 0.25]]  # of no number, and on an edge
    intensities = (rng.integers(0, 201, 500) / 200).tolist()
    sizes = [f"{side}x28" for side in rng.integers(27, 29, 500)]
    counts = Counter[Key]()
    for row, intensity, size in zip(probabilities, intensities, sizes, strict=True):
        counts += counts_of(row[np.newaxis], intensities=[intensity], sizes=[size])
    found = summarize(probabilities, intensities=intensities, sizes=sizes)
    assert found == Summary.of(counts, 3)
