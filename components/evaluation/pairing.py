"""Predictions of a candidate and a baseline on the same test images, paired by id.

Synopsis::

    pairs = pair(read_predictions(path), read_predictions(other))
    pairs.evidence([Cut.parse("age:30,60"), Cut.parse("camera")])

TensorFlow is not imported.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from components.evaluation import counting
from components.evaluation.prediction_files import PredictionsFile, in_order
from components.example_gen.data_error import DataError
from components.gate import slices
from components.gate.evidence import Evidence
from components.gate.slices import Bands, Slices
from trainer.host.text import listed, quoted

_MOST_VALUES = 100  # slices of one column of texts

_Predictions = npt.NDArray[np.float64] | npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Cut:
    """A column by which slices are cut: as `slices` says, or without them by each value."""

    column: str
    slices: Slices | None = None

    @classmethod
    def parse(cls, text: str) -> Cut:
        """Reads "age:30,60", "camera=front,rear" or "camera"; a ValueError has one line."""
        if not {":", "="} & set(text):
            return cls(text)
        cut = slices.parse(text)
        return cls(cut.feature, cut)

    def __str__(self) -> str:
        return str(self.slices or self.column)

    def members(self, read: PredictionsFile) -> dict[str, npt.NDArray[np.bool_]]:
        """Tells for each slice which of the N rows are in it; raises DataError."""
        if self.column not in read.columns:
            known = listed(list(read.columns))
            known = f"expected one of {known}" if read.columns else "and none at all: leave it out"
            raise DataError(f"{read.path} has no column {self.column!r} for slices, {known}")
        if isinstance(self.slices, Bands):
            numbers, stored = read.numbers(self.column), read.columns[self.column].dtype
            # In the precision of the file, see `Bands.places`.
            return counting.members(
                self.slices, numbers.astype(stored) if stored.kind == "f" else numbers
            )
        texts = read.texts(self.column)
        values = sorted(set(texts.tolist()))
        if self.slices is not None:
            for value in sorted(set(self.slices.values).difference(values)):
                raise DataError(
                    f"{read.path} has no row with {self.column}={value}, expected one of "
                    f"{listed(values)}"
                )
            return counting.members(self.slices, texts)
        if len(values) > _MOST_VALUES:
            raise DataError(
                f"{read.path} has {len(values):,} values of {self.column}, expected at most "
                f"{_MOST_VALUES} slices; cut numbers into bands: {self.column}:EDGE,EDGE"
            )
        return {f"{self.column}={value}": texts == value for value in values}


@dataclasses.dataclass(frozen=True)
class Pairs:
    """The predictions of a candidate, and of a baseline if there is one; N rows, K classes.

    Attributes:
      classes: their names, in the order of the labels.
      labels: [N] int64.
      candidate, baseline: probabilities, [N, K]; the predicted classes, [N], where none are known.
    """

    read: PredictionsFile
    classes: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    candidate: _Predictions
    baseline: _Predictions | None

    def evidence(self, cuts: Sequence[Cut]) -> Evidence:
        """Counts what the gate decides by; raises DataError for a column that cannot be cut."""
        slices: dict[str, npt.NDArray[np.bool_]] = {}
        for cut in cuts:
            for name, chosen in cut.members(self.read).items():
                if not np.array_equal(slices.setdefault(name, chosen), chosen):
                    raise DataError(
                        f"two slices are named {name}, expected one for each name: give all values "
                        f"of {cut.column} in one list"
                    )
        return counting.from_arrays(
            self.labels,
            self.candidate,
            self.baseline,
            slices,
            class_names=self.classes,
        )


def pair(candidate: PredictionsFile, baseline: PredictionsFile | None) -> Pairs:
    """Pairs by id; raises DataError if the two files are not of the same images and classes."""
    classes = _classes(candidate, baseline)
    for read in filter(None, (candidate, baseline)):
        read.require_known(classes)
    place = {name: index for index, name in enumerate(classes)}
    others = None
    if baseline is not None:
        others = _predictions(baseline, place)[_rows(candidate, baseline)]
    return Pairs(
        read=candidate,
        classes=classes,
        labels=np.array([place[name] for name in candidate.labels.tolist()], np.int64),
        candidate=_predictions(candidate, place),
        baseline=others,
    )


def split_digest(read: PredictionsFile) -> str:
    """Hex SHA-256 over ids and labels, in whatever order and format they stand."""
    return _digest(read, ["labels"], read.labels)


def model_digest(read: PredictionsFile) -> str:
    """Hex SHA-256 over ids and predictions, which stand for the model: it is not given."""
    if read.given is None:
        return _digest(read, ["predictions"], read.predicted)
    what = ["predictions", *read.classes]
    if (np.array(read.classes)[read.given.argmax(axis=1)] != read.predicted).any():
        what += read.predicted[np.argsort(read.ids)].tolist()  # digits beyond a float32 decide
    return _digest(read, what, read.given)


def _digest(read: PredictionsFile, what: Sequence[str], values: np.ndarray) -> str:
    order = np.argsort(read.ids)
    texts = [what, read.ids[order].tolist()]
    if values.dtype.kind == "U":
        texts.append(values[order].tolist())
    sha256 = hashlib.sha256(json.dumps(texts).encode())
    if values.dtype.kind == "f":  # not as text: of many classes it would fill the memory
        sha256.update(values[order].astype("<f4", copy=False).ravel().data)
    return sha256.hexdigest()


def _classes(candidate: PredictionsFile, baseline: PredictionsFile | None) -> tuple[str, ...]:
    """Returns the classes that have probabilities; if none have any, those of the labels."""
    named = [read for read in (candidate, baseline) if read and read.classes]
    if not named:
        classes = tuple(in_order(sorted(set(candidate.labels.tolist()))))
        if len(classes) < 2:
            raise DataError(
                f"{candidate.path} has the label {quoted(classes[0])} in each row, expected two "
                "or more different classes"
            )
        return classes
    if len(named) == 2 and named[0].classes != named[1].classes:
        raise DataError(
            f"{named[0].path} has the classes {listed(named[0].classes)} and {named[1].path} "
            f"{listed(named[1].classes)}, expected the same"
        )
    return named[0].classes


def _predictions(read: PredictionsFile, place: Mapping[str, int]) -> _Predictions:
    if read.scores is not None:
        return read.scores
    return np.array([place[name] for name in read.predicted.tolist()], np.int64)


def _rows(candidate: PredictionsFile, baseline: PredictionsFile) -> list[int]:
    """The row of the baseline for each row of the candidate."""
    rows = {name: row for row, name in enumerate(baseline.ids.tolist())}
    for one, other in ((candidate, baseline), (baseline, candidate)):
        missing = np.flatnonzero(~np.isin(one.ids, other.ids))
        if len(missing):
            more = f", nor of {len(missing) - 1:,} more" if len(missing) > 1 else ""
            one.refuse(
                int(missing[0]),
                f"{other.path} has no row of this id{more}; expected the same test images in both "
                "files",
            )
    found = [rows[name] for name in candidate.ids.tolist()]
    for row in np.flatnonzero(candidate.labels != baseline.labels[found])[:1]:
        theirs = quoted(str(baseline.labels[found[row]]))
        candidate.refuse(
            int(row),
            f"the label is {quoted(str(candidate.labels[row]))}, and {theirs} in {baseline.path}; "
            "expected the same label in both files",
        )
    return found
