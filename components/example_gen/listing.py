"""The images that a source names, before any of them is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


@dataclasses.dataclass(frozen=True)
class Listing:
    """Files with their classes, in a stable order.

    Attributes:
      root: the directory to which `paths` are relative.
      words: the name of the directory or table, which that of the data set holds.
      paths: N names of files, as the system gives them.
      labels: [N] int64, indices into `class_names`.
      class_names: sorted by code points.
      is_test: [N] bool; None where the content of the images decides.
      ignored: hidden entries that were left out.
      extra: further features, [N] float32, int64 or str each, by name.
      listed_only: the source names each file, so one that is no image is broken, and not ignored.
    """

    root: Path
    words: str
    paths: Sequence[str]
    labels: np.ndarray
    class_names: tuple[str, ...]
    is_test: np.ndarray | None = None
    ignored: int = 0
    extra: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    listed_only: bool = False

    def taken(self, rows: np.ndarray) -> Listing:
        """Returns the listing of these rows alone, [n] int64."""
        return dataclasses.replace(
            self,
            paths=[self.paths[row] for row in rows],
            labels=self.labels[rows],
            is_test=None if self.is_test is None else self.is_test[rows],
            extra={name: values[rows] for name, values in self.extra.items()},
        )
