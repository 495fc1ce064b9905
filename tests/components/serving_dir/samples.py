"""Small models, and other processes that publish them."""

import errno
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from components import serving_dir
from components.serving_dir import (
    LOCK_NAME,
    LOG_NAME,
    Decided,
    Pending,
    Published,
    compared_now,
    digest_of,
    hold,
    publish,
    versions,
)
from components.serving_dir.changing import STAGING_PREFIX
from components.serving_dir.version import Sign

NOON = "2026-11-24T12:00:00+00:00"
SMALL_MODEL = {
    "saved_model.pb": b"graph",
    "variables/variables.index": b"index",
    "variables/variables.data-00000-of-00001": b"weights" * 1000,
}
# Waits for a line of input, so that its imports are done when a test lets it begin; then makes one
# change, and prints the number of the live version.
CHANGER = """
import sys
from pathlib import Path
from components import serving_dir
serving, name, argument = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
print("ready", flush=True)
sys.stdin.readline()
if name == "publish":
    live = serving_dir.publish(Path(argument), serving, {}).version
elif name == "rollback":
    live = serving_dir.rollback(serving).version
else:
    serving_dir.prune(serving, int(argument))
    live = serving_dir.live(serving).number
print(live, flush=True)
"""
# Makes a change in copies of a serving directory, in a fork for each: the n-th kills itself at its
# n-th file-system call, which Python reports as an audit event, until one comes to its end.
KILLED_AT_EVERY_CALL = """
import itertools, os, shutil, signal, sys
from pathlib import Path
from components import serving_dir
template, model = map(Path, sys.argv[1:3])
prepare, change = (compile(code, "<test>", "exec") for code in sys.argv[3:])
def hook(event, args):
    global left
    if event == "open" or event.split(".")[0] in ("os", "shutil", "fcntl"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
for left in itertools.count(1):
    serving = template.with_name(f"serving-{left}")
    shutil.copytree(template, serving)
    if os.fork() == 0:
        exec(prepare)
        sys.addaudithook(hook)
        exec(change)
        sys.exit()
    _, status = os.wait()
    if status != signal.SIGKILL:
        sys.exit(os.waitstatus_to_exitcode(status))
"""


def write_model(path: Path, files: Mapping[str, bytes] = SMALL_MODEL) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def letter_model(folder: Path, letter: str) -> Path:
    """A model whose one file holds that letter; made below `folder` when it is not there yet."""
    return write_model(folder / f"model-{letter}", {"saved_model.pb": letter.encode()})


def publish_letters(serving: Path, letters: str) -> None:
    """Publishes one model per letter, equal letters being equal models, as versions 1, 2, ..."""
    for letter in letters:
        model = letter_model(serving.parent, letter)
        assert publish(
            model, serving, {"letter": letter, "run_key": "k", "release_token": "t"}
        ).created


def letters_in(serving: Path) -> dict[int, str]:
    """What is in each version that `publish_letters` and later rollbacks made."""
    return {
        version.number: (version.path / "saved_model.pb").read_text()
        for version in versions(serving)
    }


def decided_now(model: Path, serving: Path) -> Decided:
    return Decided(digest_of(model), compared_now(serving))


def hold_letter(
    serving: Path, letter: str, run_id: str = "r1", *, sign: Sign | None = None, **release: object
) -> Pending | Published:
    """Holds that letter's model for a run, with more in its release record."""
    model = letter_model(serving.parent, letter)
    record = {"run_id": run_id, "letter": letter, **release}
    decided = decided_now(model, serving)
    return hold(model, serving, record, run_id=run_id, decided=decided, sign=sign)


def damage(serving: Path, number: int) -> None:
    (serving / str(number) / "saved_model.pb").write_bytes(b"?")


def fail_to_sync_once_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the disk fail once a rename has brought that path."""
    fsync = os.fsync

    def fail(descriptor: int) -> None:
        if path.exists():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)


def python(script: str, *arguments: object, **options: object) -> "subprocess.Popen[str]":
    root = Path(serving_dir.__file__).parents[2]
    return subprocess.Popen(  # type: ignore[call-overload]
        # -S: it needs the standard library alone, and starts in half the time.
        [sys.executable, "-S", "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(root)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def killed_at_every_call(template: Path, model: Path, change: str, prepare: str = "") -> list[Path]:
    """Makes a change in copies of a serving directory, each killed at another file-system call.

    One copy, the last, is changed to the end. `change` is code that uses `serving` and `model`, and
    so is `prepare`, which is not killed.
    """
    process = python(KILLED_AT_EVERY_CALL, template, model, prepare, change)
    process.communicate()
    assert process.returncode == 0
    return list(template.parent.glob("serving-*"))


def start_changer(serving: Path, change: str, argument: object = "") -> "subprocess.Popen[str]":
    """A process that has imported all it needs, and waits for `release`.

    It will "publish" a model, make a "rollback", or "prune" to a number.
    """
    process = python(CHANGER, serving, change, argument)
    assert process.stdout.readline() == "ready\n"
    return process


def release(process: "subprocess.Popen[str]") -> None:
    process.stdin.write("go\n")
    process.stdin.flush()


def staging_in(serving: Path) -> list[str]:
    return [path.name for path in serving.glob(f"{STAGING_PREFIX}*")]


def hidden_in(serving: Path) -> list[str]:
    """What is neither a version nor the lock or the log."""
    return sorted(p.name for p in serving.glob(".*") if p.name not in (LOCK_NAME, LOG_NAME))


def numbers(serving: Path) -> list[int]:
    return [version.number for version in versions(serving)]


def marks_in(serving: Path) -> dict[int, int]:
    """{withdrawn version: the version that says so}."""
    return {v.number: v.withdrawn.by for v in versions(serving) if v.withdrawn}
