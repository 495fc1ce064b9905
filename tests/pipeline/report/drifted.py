"""A page of `tfx-mnist monitor` that shows drift."""

import dataclasses
from pathlib import Path

import numpy as np

from components.monitoring.counts import summarize
from components.monitoring.drift import compare
from pipeline.report import monitoring


def write_drift(path: Path) -> None:
    """The page of requests of several sizes, brighter than the test split."""
    rng = np.random.default_rng(0)
    released, observed = (
        summarize(
            rng.dirichlet(np.ones(10), 400),
            intensities=rng.uniform(low, low + 0.3, 400).tolist(),
            sizes=[f"{side}x{side + 20}" for side in rng.integers(100, 100 + sides, 400)],
        )
        for low, sides in ((0.1, 4), (0.5, 8))
    )
    tests = compare(
        released, observed, level=0.05, tolerance=0.02, class_names=[str(at) for at in range(10)]
    )
    fields = {
        "serving_dir": "serving/photos",
        "version": 3,
        "requests": {"source": "requests/" + "deep/" * 20, "rows": 400, "skipped": 2},
        "level": 0.05,
        "tolerance": 0.02,
        "drift": tests.found,
        "tests": [dataclasses.asdict(test) for test in tests.tests],
        "left_out": tests.left_out,
    }
    monitoring.write(path, fields, released, observed, [str(at) for at in range(10)])
