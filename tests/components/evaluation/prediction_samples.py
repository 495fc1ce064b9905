"""Predictions of three classes, in each format."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
from pyarrow import parquet

Table = Mapping[str, Sequence[Any]]


def table(rows: int = 6, *, wrong: Sequence[int] = ()) -> dict[str, list[Any]]:
    """Ids a0 to aN and labels 0, 1, 2, 0, ...; the `wrong` rows predict the class above."""
    labels = [row % 3 for row in range(rows)]
    said = [(label + (row in wrong)) % 3 for row, label in enumerate(labels)]
    scores = {f"p_{k}": [0.8 if k == one else 0.1 for one in said] for k in range(3)}
    return {"id": [f"a{row}" for row in range(rows)], "label": labels, **scores}


def write(path: Path, columns: Table) -> Path:
    """Writes columns in the format that the file's name says."""
    if path.suffix == ".npz":
        np.savez(path, **{name: np.array(values) for name, values in columns.items()})
    elif path.suffix == ".parquet":
        parquet.write_table(pyarrow.table(dict(columns)), path)
    else:
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
    return path
