"""Which examples the report shows and lists, and what it says of them."""

from __future__ import annotations

import base64
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from components.pictures import (
    DRAWN,
    GAINED,
    LABEL_ERRORS,
    LOST,
    NAMED,
    NEAR_DUPLICATES,
    WRONG,
    Picture,
)
from pipeline.result import RunResult

Paths = Mapping[str, Sequence[str]]  # of the files with a hexadecimal SHA-256

# Of the examples for which a check of the data failed, by the last part of its name.
_TITLES = {
    "mean_intensity": "Blank or inverted images",
    "sizes": "Images of unusual sizes",
    "grey": "Grey images among coloured ones",
    "duplicates": "Test images that occur more than once",
}

# Pictures of each kind; of refused data, where there is nothing else, `DRAWN`.
_MOST = {"train": 20, "test": 12, WRONG: 12, LOST: 8, GAINED: 8}
_MAX_PLOT_BYTES = 1 << 20
_MOST_EQUAL = 3  # files of one content that are named beside a picture
MOST_LISTED = 100  # of them in a list


@dataclasses.dataclass(frozen=True)
class Section:
    """Examples of one kind, the first of which are shown.

    Attributes:
      note: what they are, how they were chosen, and how many there are.
      found: those that are known by name, which are listed if they are more than the pictures.
      most: how many of them are shown.
      compares: whether each picture has the answers of the served model, too.
    """

    title: str
    note: str
    found: Sequence[Picture]
    most: int
    compares: bool = False

    @property
    def pictures(self) -> Sequence[Picture]:
        return self.found[: self.most]


def suspects(result: RunResult) -> Iterator[Section]:
    """Yields the sections, none empty, of what the data gate has found, and of likely label errors
    in test.
    """
    most = _MOST["train"] if result.mistakes else DRAWN
    groups = result.suspects.groups if result.suspects else {}
    if found := groups.get(NEAR_DUPLICATES):
        yield Section(
            "Test images that are also in train or eval",
            "Each of these test images, on the left, is exactly or nearly the image on the right, "
            f"which a model may learn from. Shown: {_share(most, len(found))}.",
            found,
            most,
        )
    for name, found in groups.items():
        title = _TITLES.get(name.rpartition(".")[2])
        if title and found:
            more = " or more" if len(found) == NAMED else ""
            which = f"{_share(DRAWN, len(found))}{more} for which {name} failed"
            yield Section(title, f"Shown: {which}.", found, DRAWN)
    rule = "by confident learning (Northcutt et al. 2021), ranked by the margin"
    if result.suspects and (found := groups.get(LABEL_ERRORS)):
        yield Section(
            "Likely label errors in train and eval",
            f"Of {result.suspects.examined:,} examples, each predicted by a quick classifier "
            "that was fitted without it, those that look most like another class than their "
            f"label, {rule}. Shown: {_share(most, len(found))} that the data gate lists.",
            found,
            most,
        )
    if result.mistakes and (found := result.mistakes.groups.get(LABEL_ERRORS)):
        most = _MOST["test"]
        yield Section(
            "Likely label errors in test",
            "Test images that look most like another class than their label to the model, "
            f"{rule} of its probabilities: either the label is wrong, or the model is sure of a "
            f"mistake. Shown: {_share(most, len(found))}.",
            found,
            most,
        )


def mistakes(result: RunResult) -> Iterator[Section]:
    """Yields the sections, none empty, of the model's mistakes."""
    if result.evidence is None or result.mistakes is None:
        return
    overall = result.evidence.overall
    gained = "that only this model predicts right (the wrong answer is the served model's)"
    for kind, title, total, what in (
        (LOST, "Lost", overall.lost, "that only the served model predicts right"),
        (GAINED, "Gained", overall.gained, gained),
        (WRONG, "Wrong", overall.errors, "that this model predicts wrong"),
    ):
        if found := result.mistakes.groups.get(kind):
            share = _share(min(_MOST[kind], len(found)), total)
            yield Section(
                f"{title}: {total:,} test image{'s' * (total != 1)}",
                f"{share[0].upper()}{share[1:]} {what}, the surest mistakes first.",
                found,
                _MOST[kind],
                compares=kind != WRONG,
            )


def _share(most: int, total: int) -> str:
    if most < total:
        return f"{most} of the {total:,}"
    return "the one" if total == 1 else f"all {total:,}"


def files(result: RunResult) -> frozenset[str]:
    """Returns the hexadecimal SHA-256 of the files of all pictures of a run."""
    shown = [one for one in (result.suspects, result.mistakes) if one]
    pictures = itertools.chain.from_iterable(
        group for one in shown for group in one.groups.values()
    )
    return frozenset(itertools.chain.from_iterable(picture.files for picture in pictures))


def names(picture: Picture, paths: Paths, most_equal: int = _MOST_EQUAL) -> list[str]:
    """Returns the path of each file that the picture shows, with those of equal files, not all of
    very many.
    """
    found = (paths[file] for file in dict.fromkeys(picture.files) if file in paths)
    return [_name(equal, most_equal) for equal in found]


def _name(equal: Sequence[str], most: int) -> str:
    shown = " = ".join(equal[:most])
    return shown if len(equal) <= most else f"{shown} (and {len(equal) - most} more)"


def trials_picture(result: RunResult) -> str:
    """Returns the picture of the search's trials as PNG in base64, or "" without one."""
    path = Path(result.tuning_plot) if result.tuning_plot else None
    if path is None or not path.is_file() or path.stat().st_size > _MAX_PLOT_BYTES:
        return ""
    return base64.b64encode(path.read_bytes()).decode("ascii")


def described(picture: Picture) -> str:
    """Returns the text for those who do not see the picture."""
    taken = f", taken for {picture.looks_like}" if picture.looks_like else ""
    return f"Example labelled {picture.label}{taken}"
