"""The log beside the versions: JSON objects, one a line, each complete or absent.

    with opened(Path("serving")) as log:          # this process alone
        log.append([{"at": "2026-11-26", "run_id": "3f2a"}])

It outlives every version and every pipeline root. It says which decisions were made
(`components.gate.decision_log`), and which models were withdrawn: before the version whose manifest
withdraws a model may go, the model's digest is kept here for good.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from components.serving_dir.model_files import ServingDirError, explain
from trainer.host import strict_json
from trainer.host.files import open_descriptor, read_regular, sync_directory
from trainer.host.locks import exclusive
from trainer.host.text import quoted

LOG_NAME = ".decisions.jsonl"
LOCK_S = 60.0  # to write a line takes milliseconds

_WITHDRAWAL = "withdrawal"  # the key of a withdrawal in a line
_MAX_BYTES = 1 << 27  # some 300,000 decisions


@dataclass(frozen=True)
class Log:
    """A log that this process holds; `lines` are those that stood there when it was opened."""

    path: Path
    lines: tuple[bytes, ...]
    descriptor: int

    def append(self, records: Sequence[Mapping[str, object]]) -> None:
        """Writes lines and syncs them to disk; after an OSError none was written."""
        left = memoryview(b"".join(_line(record) + b"\n" for record in records))
        end = os.fstat(self.descriptor).st_size
        try:
            while left:  # the system may take less than it is given, without an error
                left = left[os.write(self.descriptor, left) :]
            os.fsync(self.descriptor)
            if not end:
                sync_directory(self.path.parent)
        except BaseException:
            os.ftruncate(self.descriptor, end)
            raise


@contextlib.contextmanager
def opened(serving_dir: Path) -> Iterator[Log]:
    """Opens the log for this process alone; cuts off half a line that a kill or power cut left.

    Raises:
        AlreadyLocked: another process still held it after `LOCK_S` seconds.
    """
    path = serving_dir / LOG_NAME
    # A link that leads nowhere would have its target made.
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    descriptor = open_descriptor(path, flags, max_bytes=_MAX_BYTES)
    with exclusive(descriptor, timeout_s=LOCK_S):
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read()
        whole = _whole_lines(content)
        if len(whole) < len(content):
            os.ftruncate(descriptor, len(whole))
        yield Log(path, tuple(whole.splitlines()), descriptor)


def read_lines(serving_dir: Path) -> tuple[bytes, ...]:
    """Returns the log's lines without holding it; none where there is no log."""
    try:
        content = read_regular(serving_dir / LOG_NAME, max_bytes=_MAX_BYTES)
    except FileNotFoundError:
        return ()
    return tuple(_whole_lines(content).splitlines())


@dataclass(frozen=True)
class Withdrawal:
    """Why a version and its model are not to be served again.

    Attributes:
        model_digest: None where only the version's files were at fault.
        by: the version whose manifest says so.
        reason: the operator's own words, maybe none.
        at: when, ISO 8601, UTC.
    """

    version: int
    model_digest: str | None
    by: int
    reason: str
    at: str

    def __str__(self) -> str:
        reason = " ".join(self.reason.split()) or "no reason given"
        return f"by version {self.by} at {self.at}: {reason}"


def keep(serving_dir: Path, withdrawals: Sequence[Withdrawal]) -> None:
    """Writes to disk which models were withdrawn, unless the log says so already."""
    records = [{_WITHDRAWAL: asdict(one)} for one in withdrawals if one.model_digest is not None]
    if not records:
        return
    with opened(serving_dir) as log:
        new = [record for record in records if _line(record) not in log.lines]
        if new:
            log.append(new)


def kept(serving_dir: Path) -> list[Withdrawal]:
    """Returns what `keep` wrote, oldest first; raises ServingDirError if the log cannot be read."""
    path = serving_dir / LOG_NAME
    try:
        lines = read_lines(serving_dir)
    except OSError as error:
        raise ServingDirError(
            f"cannot read which models were withdrawn from {path}: {explain(error)}"
        ) from error
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(withdrawal_in(line))
        except ValueError as error:
            raise ServingDirError(
                f"line {number} of {path} is damaged ({error}): restore the file, or remove that "
                "line, which forgets one decision or one withdrawn model"
            ) from error
    return [withdrawal for withdrawal in found if withdrawal is not None]


def withdrawal_in(line: bytes) -> Withdrawal | None:
    """Returns the withdrawal that a line tells of, if any; raises ValueError if it is damaged."""
    record = strict_json.loads(line.decode("ascii"))
    if not isinstance(record, dict):
        raise ValueError(f"it is {quoted(record)}, expected an object")
    if _WITHDRAWAL not in record:
        return None
    match record[_WITHDRAWAL]:
        case {
            "version": int(version),
            "model_digest": str(digest),
            "by": int(by),
            "reason": str(reason),
            "at": str(at),
        }:
            return Withdrawal(version, digest, by, reason, at)
    raise ValueError("it names no withdrawn model")


def _line(record: Mapping[str, object]) -> bytes:
    return json.dumps(record).encode("ascii")


def _whole_lines(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]
