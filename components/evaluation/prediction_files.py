"""Files of predictions that any tool wrote: CSV, Parquet or NPZ, as columns of one form.

Synopsis::

    read = read_predictions(Path("candidate.csv"))
    read.ids, read.labels         # [N] texts
    read.classes, read.scores     # ("0", "1", ...), [N, K] probabilities

docs/gate-check.md has the form. TensorFlow is not imported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from components.example_gen.columns import Columns, normal, numbers, read_columns, texts
from components.example_gen.data_error import DataError
from trainer.host.text import listed, quoted

ID, LABEL, PREDICTED, CLASSES = "id", "label", "predicted", "classes"
PROBABILITIES, LOGITS = "probabilities", "logits"

_PREFIXES = {PROBABILITIES: "p_", LOGITS: "logit_"}  # of a column for each class
_SUM_TOLERANCE = 1e-3  # of a row of probabilities, which may be rounded to some digits
_MAX_TEXT = 1000  # characters, since an array gives each of its texts the room of the longest


@dataclasses.dataclass(frozen=True)
class PredictionsFile:
    """The rows of one file; N rows, K classes.

    Attributes:
      ids, labels: [N] texts; no id occurs twice. Of served requests, an id is the row's number, and
        a label may be "".
      classes: their names, by rising number if all are numbers, and otherwise by text; empty where
        only the predicted class is known.
      scores: [N, K] float64 probabilities; None where only the predicted class is known.
      given: the probabilities or logits of the file, [N, K], in the precision of most models: text
        holds a float32 in other digits than Parquet.
      predicted: [N] texts; the most probable class where there are probabilities.
      columns: all others, [N], for slices.
    """

    path: Path
    ids: npt.NDArray[np.str_]
    labels: npt.NDArray[np.str_]
    classes: tuple[str, ...]
    scores: npt.NDArray[np.float64] | None
    given: npt.NDArray[np.float32] | None
    predicted: npt.NDArray[np.str_]
    columns: Mapping[str, np.ndarray]

    def refuse(self, row: int, what: str) -> NoReturn:
        """Raises the DataError that says what is wrong with a row, counted from 0 here."""
        raise DataError(f"{self.path}, row {row + 1} (id {quoted(str(self.ids[row]))}): {what}")

    def require_known(self, classes: Sequence[str]) -> None:
        """Raises DataError for a label or a predicted class that is none of the classes."""
        known = np.array([*classes, ""])
        for name, values in (("label", self.labels), ("predicted class", self.predicted)):
            for row in np.flatnonzero(~np.isin(values, known))[:1]:
                value = quoted(str(values[row]))
                self.refuse(row, f"the {name} is {value}, expected one of {listed(classes)}")

    def numbers(self, name: str) -> npt.NDArray[np.float64]:
        """Reads a column of finite numbers, [N]."""
        values = numbers(self.path, name, self.columns[name])
        for row in np.flatnonzero(~np.isfinite(values))[:1]:
            self.refuse(row, f"{name} is {values[row]}, expected a finite number")
        return values

    def texts(self, name: str) -> npt.NDArray[np.str_]:
        """Reads a column of texts, [N], none of which is empty, as a run reads those of a table."""
        found = _texts(self.path, name, self.columns[name])
        return np.array([normal(text) for text in found.tolist()], np.str_)


def read_predictions(path: Path, *, served: bool = False) -> PredictionsFile:
    """Reads a file, whose name says its format; raises DataError for one that does not fit.

    Args:
      served: the rows are requests, which need no id and no label, and may repeat an id.
    """
    columns = read_columns(path, wide=tuple(_PREFIXES.values()))
    known = listed(list(columns))
    for name in () if served else (ID, LABEL):
        if name not in columns:
            raise DataError(
                f"{path} has no column {name!r}, expected id, label, and p_CLASS for each class, "
                f"logit_CLASS for each class, or predicted; it has {known}"
            )
    names = columns.pop(CLASSES, None)
    _require_rows(path, columns)
    if served:
        rows = len(next(iter(columns.values())))
        columns.setdefault(ID, np.arange(1, rows + 1))
        columns.setdefault(LABEL, np.full(rows, ""))
    ids = _texts(path, ID, columns.pop(ID), required=not served)
    labels = _texts(path, LABEL, columns.pop(LABEL), required=not served)
    if not served:
        _require_distinct(path, ids)
    kind, classes, scores = _scores(path, columns, names)
    given = columns.pop(PREDICTED, None)
    predicted = None if given is None else _texts(path, PREDICTED, given)
    if scores is None:
        if predicted is None:
            raise DataError(
                f"{path} holds no predictions, expected p_CLASS for each class, logit_CLASS for "
                f"each class, or predicted; it has {known}"
            )
        return PredictionsFile(path, ids, labels, (), None, None, predicted, columns)
    most = np.array(classes)[scores.argmax(axis=1)]
    with np.errstate(over="ignore"):
        single = scores.astype(np.float32)
    found = PredictionsFile(path, ids, labels, classes, scores, single, most, columns)
    scores = _probabilities(found, kind, scores)
    found = dataclasses.replace(
        found, scores=scores, predicted=np.array(classes)[scores.argmax(axis=1)]
    )
    found.require_known(classes)
    if predicted is not None:
        _require_agreement(found, scores, predicted)
    return found


def _texts(
    path: Path, name: str, values: np.ndarray, *, required: bool = True
) -> npt.NDArray[np.str_]:
    found = texts(path, name, values, required=required)
    for row in [row for row, text in enumerate(found) if len(text) > _MAX_TEXT][:1]:
        raise DataError(
            f"{path}, row {row + 1}: {name} has {len(found[row]):,} characters, expected at most "
            f"{_MAX_TEXT:,}"
        )
    return np.array(found, np.str_)


def _require_rows(path: Path, columns: Columns) -> None:
    rows = {name: values.shape[0] if values.ndim else None for name, values in columns.items()}
    if len(set(rows.values())) > 1:
        shown = ", ".join(f"{name} {count}" for name, count in rows.items())
        raise DataError(f"{path} has columns of different lengths, expected one length: {shown}")
    if not any(rows.values()):
        raise DataError(f"{path} has no rows, expected one for each image")


def _require_distinct(path: Path, ids: npt.NDArray[np.str_]) -> None:
    order = np.argsort(ids, kind="stable")
    for place in np.flatnonzero(ids[order][1:] == ids[order][:-1])[:1]:
        first, second = order[place] + 1, order[place + 1] + 1
        raise DataError(
            f"{path}, rows {first} and {second} have the same id {quoted(str(ids[order[place]]))}, "
            "expected each id once"
        )


def _scores(
    path: Path, columns: Columns, names: np.ndarray | None
) -> tuple[str, tuple[str, ...], npt.NDArray[np.float64] | None]:
    """Takes the scores out of the columns: returns their kind, their classes in order, and [N, K].

    Where there are none it returns "", no class and None.
    """
    found = {}
    for kind, prefix in _PREFIXES.items():
        wide = [name for name in columns if name.startswith(prefix) and name != prefix]
        if kind in columns:
            found[kind] = _of_array(path, kind, columns.pop(kind), names)
        elif wide:
            matrix = np.empty((len(columns[wide[0]]), len(wide)))  # no column is kept beside it
            for at, name in enumerate(wide):
                matrix[:, at] = numbers(path, name, columns.pop(name))
            found[kind] = [name.removeprefix(prefix) for name in wide], matrix
    if len(found) > 1:
        raise DataError(f"{path} holds probabilities and logits, expected one of them")
    if not found:
        return "", (), None
    ((kind, (classes, scores)),) = found.items()
    if len(set(classes)) < len(classes) or len(classes) < 2:
        raise DataError(
            f"{path} has {kind} of the classes {listed(classes)}, expected two or more different "
            "classes"
        )
    for name in [name for name in classes if len(name) > _MAX_TEXT][:1]:
        raise DataError(
            f"{path} names a class by {len(name):,} characters, expected at most {_MAX_TEXT:,}: "
            f"{quoted(name)}"
        )
    ordered = in_order(classes)
    if ordered != classes:
        scores = scores[:, [classes.index(name) for name in ordered]]
    return kind, tuple(ordered), scores


def _of_array(
    path: Path, kind: str, scores: np.ndarray, names: np.ndarray | None
) -> tuple[list[str], npt.NDArray[np.float64]]:
    if scores.dtype.kind == "O" and len(scores):
        lengths = [len(one) if isinstance(one, list) else 0 for one in scores.tolist()]
        for row in [row for row, length in enumerate(lengths) if length != lengths[0]][:1]:
            raise DataError(
                f"{path}, row {row + 1}: {kind} holds {lengths[row]} values, expected "
                f"{lengths[0]} as in the first row"
            )
    if scores.ndim != 2 or scores.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: {kind} has the shape {scores.shape} and the type {scores.dtype}, expected "
            "[rows, classes] numbers"
        )
    classes = [str(i) for i in range(scores.shape[1])]
    if names is not None:
        classes = texts(path, CLASSES, np.atleast_1d(names))
    if len(classes) != scores.shape[1]:
        raise DataError(
            f"{path} names {len(classes)} classes, expected {scores.shape[1]}, one for each column "
            f"of {kind}"
        )
    return classes, scores.astype(np.float64)


def in_order(classes: Sequence[str]) -> list[str]:
    """Sorts names of classes: by number if all are numbers, otherwise as texts."""
    numeric = all(name.isdecimal() for name in classes)
    return sorted(classes, key=lambda name: (int(name), name) if numeric else (0, name))


def _probabilities(
    found: PredictionsFile, kind: str, scores: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    for row, column in np.argwhere(~np.isfinite(scores))[:1]:
        value, name = scores[row, column], quoted(found.classes[column])
        found.refuse(row, f"class {name} has {value} among the {kind}, expected a finite number")
    if kind == LOGITS:
        with np.errstate(over="ignore"):  # to minus infinity, whose power is 0
            powers = scores - scores.max(axis=1, keepdims=True)
        np.exp(powers, out=powers)
        powers /= powers.sum(axis=1, keepdims=True)
        return powers
    for row, column in np.argwhere(scores < 0.0)[:1]:
        value, name = scores[row, column], quoted(found.classes[column])
        found.refuse(
            row,
            f"class {name} has the probability {value:.6g}, expected 0 or more; logits stand in "
            "columns logit_CLASS, or in an array logits",
        )
    sums = scores.sum(axis=1)
    for row in np.flatnonzero(np.abs(sums - 1.0) > _SUM_TOLERANCE)[:1]:
        found.refuse(
            row,
            f"the probabilities sum to {sums[row]:.6g}, expected 1 within {_SUM_TOLERANCE:g}; "
            "give all classes, with more digits",
        )
    return scores


def _require_agreement(
    found: PredictionsFile, scores: npt.NDArray[np.float64], predicted: npt.NDArray[np.str_]
) -> None:
    place = {name: column for column, name in enumerate(found.classes)}
    for row, name in enumerate(predicted.tolist()):
        column = place.get(name)
        if column is None or scores[row, column] < scores[row].max():
            found.refuse(
                row,
                f"predicted is {quoted(name)}, expected the most probable class "
                f"{quoted(str(found.predicted[row]))}; leave one of the two out",
            )
        if name != found.predicted[row]:  # which the gate would count
            found.refuse(
                row,
                f"predicted is {quoted(name)}, and {quoted(str(found.predicted[row]))} is as "
                "probable, expected one most probable class: break the tie in the probabilities, "
                "or leave them out",
            )
