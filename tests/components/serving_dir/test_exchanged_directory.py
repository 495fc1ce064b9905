"""A serving directory that becomes another one while a change is at work in it."""

import shutil
import sys
from functools import partial
from pathlib import Path

import pytest

from components.serving_dir import (
    ServingDirError,
    approve,
    pending,
    publish,
    rollback,
    versions,
)
from components.serving_dir.changing import PENDING_PREFIX
from tests.components.serving_dir.samples import hold_letter, letter_model, publish_letters

CHANGES = {
    "publish": lambda serving: publish(letter_model(serving.parent, "d"), serving, {}),
    "hold": lambda serving: hold_letter(serving, "d", "new"),
    "approve": lambda serving: approve(serving, "old", by="Ann", reason="why"),
    "rollback": rollback,
}


def waiting(serving: Path) -> set[str]:
    return {path.name for path in serving.iterdir() if path.name.startswith(PENDING_PREFIX)}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("exchange", ["a link", "a missing directory"])
def test_it_gets_no_half_of_a_version(
    change, exchange: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving, blue, green = (tmp_path / name for name in ("serving", "blue", "green"))
    publish_letters(serving, "ab")
    hold_letter(serving, "c", "old")
    letter_model(tmp_path, "d")
    serving.rename(blue)
    shutil.copytree(blue, green)
    serving.symlink_to(blue)

    def readable(real, manifest):
        serving.unlink(missing_ok=True)
        if exchange == "a link":
            serving.symlink_to(green)
        return real(manifest)

    for name in ("publishing", "pending"):
        module = sys.modules[f"components.serving_dir.{name}"]
        monkeypatch.setattr(module, "readable", partial(readable, module.readable))
    with pytest.raises(ServingDirError, match=r"No such file or directory|no run 'old' waits"):
        change(serving)
    for directory in (blue, green):
        present = versions(directory, check_files=True)
        assert [(one.number, one.problems) for one in present] == [(1, ()), (2, ())]
        assert waiting(directory) == {f"{PENDING_PREFIX}{one.run_id}" for one in pending(directory)}
    assert serving.exists() == (exchange == "a link")
