"""Which examples the report shows, and what it says of them."""

from __future__ import annotations

import base64
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from components.pictures import (
    GAINED,
    LABEL_ERRORS,
    LOST,
    NEAR_DUPLICATES,
    WRONG,
    Picture,
    Pictures,
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

MOST = 60  # pictures of each kind, if the data were refused
_MOST = {"train": 20, "test": 12, WRONG: 12, LOST: 8, GAINED: 8}
_MAX_PLOT_BYTES = 1 << 20
_MOST_EQUAL = 3  # files of one content that are named


@dataclasses.dataclass(frozen=True)
class Section:
    """Pictures of one kind.

    Attributes:
      note: what they are, how they were chosen, and how many there are.
      compares: whether each picture has the answers of the served model, too.
    """

    title: str
    note: str
    pictures: Sequence[Picture]
    compares: bool = False


def suspects(result: RunResult) -> Iterator[Section]:
    """Yields the sections, which have pictures, of what the data gate shows, and of likely label
    errors in test.
    """
    most = _MOST["train"] if result.mistakes else MOST  # refused data: there is nothing else
    if shown := _first(result.suspects, NEAR_DUPLICATES, most):
        yield Section(
            "Test images that are also in train or eval",
            f"Each of these {len(shown)} test images, on the left, is exactly or nearly the image "
            "on the right, which a model may learn from.",
            shown,
        )
    for name, shown in result.suspects.groups.items() if result.suspects else ():
        title = _TITLES.get(name.rpartition(".")[2])
        if title and shown:
            which = "all" if len(shown) < MOST else "the first of those"
            yield Section(title, f"Shown: {len(shown)}, {which} for which {name} failed.", shown)
    rule = "by confident learning (Northcutt et al. 2021), ranked by the margin"
    if shown := _first(result.suspects, LABEL_ERRORS, most):
        assert result.suspects is not None
        found = len(result.suspects.groups[LABEL_ERRORS])
        yield Section(
            "Likely label errors in train and eval",
            f"Of {result.suspects.examined:,} examples, each predicted by a quick classifier "
            "that was fitted without it, those that look most like another class than their "
            f"label, {rule}. Shown: {_share(len(shown), found)} that the data gate lists.",
            shown,
        )
    if shown := _first(result.mistakes, LABEL_ERRORS, _MOST["test"]):
        yield Section(
            "Likely label errors in test",
            "Test images that look most like another class than their label to the model, "
            f"{rule} of its probabilities: either the label is wrong, or the model is sure of a "
            f"mistake. Shown: {len(shown)}.",
            shown,
        )


def mistakes(result: RunResult) -> Iterator[Section]:
    """Yields the sections of the model's mistakes that have pictures."""
    if result.evidence is None:
        return
    overall = result.evidence.overall
    gained = "that only this model predicts right (the wrong answer is the served model's)"
    for kind, title, total, what in (
        (LOST, "Lost", overall.lost, "that only the served model predicts right"),
        (GAINED, "Gained", overall.gained, gained),
        (WRONG, "Wrong", overall.errors, "that this model predicts wrong"),
    ):
        if shown := _first(result.mistakes, kind, _MOST[kind]):
            share = _share(len(shown), total)
            yield Section(
                f"{title}: {total:,} test image{'s' * (total != 1)}",
                f"{share[0].upper()}{share[1:]} {what}, the surest mistakes first.",
                shown,
                compares=kind != WRONG,
            )


def _share(shown: int, total: int) -> str:
    if shown < total:
        return f"{shown} of the {total:,}"
    return "the one" if total == 1 else f"all {total:,}"


def _first(pictures: Pictures | None, group: str, most: int) -> Sequence[Picture]:
    return pictures.groups.get(group, ())[:most] if pictures else ()


def files(result: RunResult) -> frozenset[str]:
    """Returns the hexadecimal SHA-256 of the files of all pictures of a run."""
    shown = [one for one in (result.suspects, result.mistakes) if one]
    pictures = itertools.chain.from_iterable(
        group for one in shown for group in one.groups.values()
    )
    return frozenset(itertools.chain.from_iterable(picture.files for picture in pictures))


def names(picture: Picture, paths: Paths) -> list[str]:
    """Returns the path of each file that the picture shows, with those of equal files."""
    return [_name(paths[file]) for file in dict.fromkeys(picture.files) if file in paths]


def _name(equal: Sequence[str]) -> str:
    shown = " = ".join(equal[:_MOST_EQUAL])
    return shown if len(equal) <= _MOST_EQUAL else f"{shown} (and {len(equal) - _MOST_EQUAL} more)"


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
