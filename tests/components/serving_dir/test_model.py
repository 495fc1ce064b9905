"""Any sequence of changes leaves what a small model of the serving directory says."""

import contextlib
import dataclasses
import os
import tempfile
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.serving_dir import (
    ServingDirError,
    digest_of,
    live,
    newest_valid,
    prune,
    publish,
    rollback,
    versions,
    withdrawn_digests,
)
from tests.components.serving_dir.samples import letter_model, letters_in

pytestmark = pytest.mark.once

LETTERS = "abc"
CHANGES = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from(LETTERS)),
    st.tuples(st.just("rollback"), st.none() | st.integers(1, 9)),
    st.tuples(st.just("prune"), st.integers(1, 4)),
)


@dataclasses.dataclass
class Model:
    """What should be there.

    Attributes:
      letters: of each version.
      rollbacks: of each version that a rollback made, the number that it withdrew.
      withdrawn_letters: by letter, the version that withdrew it last, which may be gone.
    """

    letters: dict[int, str] = dataclasses.field(default_factory=dict)
    rollbacks: dict[int, int] = dataclasses.field(default_factory=dict)
    withdrawn_letters: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def live(self) -> int:
        return max(self.letters, default=0)

    def withdrawn_by(self, number: int) -> int | None:
        by_number = [by for by, withdrawn in self.rollbacks.items() if number == withdrawn]
        by_letter = self.withdrawn_letters.get(self.letters[number])
        return max([*by_number, *([by_letter] if by_letter else [])], default=None)

    def good(self) -> list[int]:
        """What can be rolled back to, the best last."""
        return [
            number
            for number, letter in sorted(self.letters.items())
            if letter != self.letters[self.live] and not self.withdrawn_by(number)
        ]

    def publish(self, letter: str) -> None:
        if self.letters.get(self.live) != letter:
            self.letters[self.live + 1] = letter

    def rollback(self, number: int | None) -> bool:
        good = self.good() if self.letters else []
        if not good or number not in (None, *good):
            return False
        was_live = self.live
        self.letters[was_live + 1] = self.letters[number or good[-1]]
        self.rollbacks[was_live + 1] = was_live
        self.withdrawn_letters[self.letters[was_live]] = was_live + 1
        return True

    def prune(self, keep: int) -> None:
        if not self.letters:
            return
        staying = {*sorted(self.letters)[-keep:], *self.good()[-1:]}
        for _ in self.letters:  # as often as a mark on a mark on a mark may need it
            marks = {self.withdrawn_by(number) for number in staying & self.letters.keys()}
            staying |= marks - {None}
        for number in self.letters.keys() - staying:
            del self.letters[number]
            self.rollbacks.pop(number, None)


@settings(max_examples=150)
@given(st.lists(CHANGES, max_size=20))
def test_any_sequence_of_changes_gives_what_the_model_says(
    changes: list[tuple[str, object]],
) -> None:
    expected = Model()
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(os, "fsync"),  # most of the time, and of no concern here
    ):
        serving = Path(folder) / "serving"
        for name, argument in changes:
            if name == "publish":
                publish(letter_model(Path(folder), argument), serving, {})
                expected.publish(argument)
            elif name == "prune":
                prune(serving, argument)
                expected.prune(argument)
            else:
                done = None
                with contextlib.suppress(ServingDirError):
                    done = rollback(serving, argument)
                assert expected.rollback(argument) == (done is not None)
            assert_equal(serving, expected)


def assert_equal(serving: Path, expected: Model) -> None:
    present = versions(serving, check_files=True)
    assert [version.problems for version in present] == [()] * len(present)
    assert letters_in(serving) == expected.letters
    assert {v.number: v.withdrawn.by for v in present if v.withdrawn} == {
        number: by for number in expected.letters if (by := expected.withdrawn_by(number))
    }
    digests = {digest_of(letter_model(serving.parent, x)): x for x in LETTERS}
    withdrawn = {digests[digest]: by.by for digest, by in withdrawn_digests(serving).items()}
    assert withdrawn == expected.withdrawn_letters
    highest, good = live(serving), newest_valid(serving)
    assert (highest.number if highest else 0) == expected.live
    unwithdrawn = [number for number in expected.letters if not expected.withdrawn_by(number)]
    assert (good.number if good else None) == max(unwithdrawn, default=None)
