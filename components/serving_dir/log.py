"""The log beside the versions: JSON objects, one a line, each complete or absent.

    read_log(Path("serving"))           # all entries, oldest first

It outlives every version and every pipeline root. It says which decisions were made on each test
set, and which models were withdrawn, or approved or rejected by a person. Before the version whose
manifest withdraws a model may go, the model's digest is kept here for good.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from components.serving_dir.model_files import ServingDirError, explained
from trainer.host import strict_json
from trainer.host.files import let_read, open_descriptor, read_regular, sync_directory
from trainer.host.locks import exclusive
from trainer.host.strict_json import record_of
from trainer.host.text import quoted

LOG_NAME = ".decisions.jsonl"
LOCK_S = 60.0  # to write a line takes milliseconds

_MAX_BYTES = 1 << 27  # some 300,000 decisions


@dataclass(frozen=True)
class Log:
    """A log that this process holds; `lines` are those that stood there when it was opened."""

    path: Path
    lines: tuple[bytes, ...]
    descriptor: int

    def entries(self) -> list[Entry]:
        """Returns what stands in the log, oldest first; raises ServingDirError if it is damaged."""
        return _entries(self.lines, self.path)

    def append(self, records: Sequence[Mapping[str, object]]) -> None:
        """Writes lines and syncs them to disk; after an OSError none was written.

        A newline that the last line lacks is written before them.
        """
        end = os.fstat(self.descriptor).st_size
        ended = not end or os.pread(self.descriptor, 1, end - 1) == b"\n"
        lines = b"".join(_line(record) + b"\n" for record in records)
        left = memoryview(lines if ended else b"\n" + lines)
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

    Whoever may read the serving directory may read a new log, see `let_read`.

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
        if not content:
            let_read(path)
        whole = _whole_lines(content)
        if len(whole) < len(content):
            os.ftruncate(descriptor, len(whole))
        yield Log(path, tuple(whole.splitlines()), descriptor)


@dataclass(frozen=True)
class Decision:
    """The subject of a decision, by digests; equal subjects are the same decision."""

    test_digest: str
    model_digest: str
    baseline_digest: str | None
    policy_digest: str


@dataclass(frozen=True)
class Lost:
    """A number of decisions on a test set that stood in no line any more when the next was made."""

    test_digest: str
    decisions: int


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
        return f"withdrawn by version {self.by} at {self.at}: {reason}"


@dataclass(frozen=True)
class Rejection:
    """Who decided that a held model is not to be released, why, and when (ISO 8601, UTC)."""

    run_id: str
    model_digest: str
    by: str
    reason: str
    at: str

    def __str__(self) -> str:
        by, reason = (" ".join(text.split()) for text in (self.by, self.reason))
        return f"rejected by {by} at {self.at}: {reason}"


@dataclass(frozen=True)
class Approval:
    """Who approved a held model, why, when (ISO 8601, UTC), and which version holds it.

    It stands in the manifest of the version, and in the log once that may go, or where another run
    had released the model.
    """

    run_id: str
    version: int
    by: str
    reason: str
    at: str

    def __str__(self) -> str:
        by, reason = (" ".join(text.split()) for text in (self.by, self.reason))
        return f"approved by {by} as version {self.version}: {reason}"


# A line of the log: a decision as it is, and all else under the name of its kind.
Entry = Decision | Lost | Withdrawal | Rejection | Approval
_NAMED: Mapping[str, Callable[..., Entry]] = {
    kind.__name__.lower(): kind for kind in (Lost, Withdrawal, Rejection, Approval)
}


def keep_in_log(serving_dir: Path, entries: Sequence[Withdrawal | Rejection | Approval]) -> None:
    """Writes to disk which models were withdrawn, and what people decided on held ones, unless the
    log says so already.
    """
    records = [
        named(one)
        for one in entries
        if not isinstance(one, Withdrawal) or one.model_digest is not None
    ]
    if not records:
        return
    with opened(serving_dir) as log:
        new = [record for record in records if _line(record) not in log.lines]
        if new:
            log.append(new)


def named(entry: Lost | Withdrawal | Rejection | Approval) -> dict[str, object]:
    """Returns the record of an entry that is no decision, under the name of its kind."""
    return {type(entry).__name__.lower(): asdict(entry)}


def read_log(serving_dir: Path) -> list[Entry]:
    """Returns what stands in the log, oldest first, without holding it.

    Raises ServingDirError if it cannot be read, or a line is damaged.
    """
    path, content = serving_dir / LOG_NAME, b""
    with (
        explained(f"read what was decided and withdrawn from {path}"),
        contextlib.suppress(FileNotFoundError),
    ):
        content = read_regular(path, max_bytes=_MAX_BYTES)
    return _entries(_whole_lines(content).splitlines(), path)


def withdrawals_in_log(serving_dir: Path) -> list[Withdrawal]:
    """Returns the withdrawals in the log, see `read_log`."""
    return [one for one in read_log(serving_dir) if isinstance(one, Withdrawal)]


def rejected(serving_dir: Path) -> dict[str, Rejection]:
    """Returns what a person rejected, by the run that was held; see `read_log`."""
    return {one.run_id: one for one in read_log(serving_dir) if isinstance(one, Rejection)}


def utc_now() -> str:
    """Returns the time of the machine's clock, ISO 8601, UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _entries(lines: Iterable[bytes], path: Path) -> list[Entry]:
    found: list[Entry] = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(_entry(strict_json.loads(line.decode("ascii"))))
        except ValueError as error:
            raise ServingDirError(
                f"line {number} of {path} is damaged ({error}): restore the file, or remove that "
                "line, which forgets one decision, withdrawn or rejected model, or approval"
            ) from error
    return found


def _entry(record: object) -> Entry:
    found: Entry | None = record_of(Decision, record)
    if isinstance(record, dict):
        for name in _NAMED.keys() & record.keys():
            found = record_of(_NAMED[name], record[name])
    if found is None or (isinstance(found, Withdrawal) and found.model_digest is None):
        raise ValueError(
            f"it is {quoted(record)}, expected a decision, withdrawal, rejection or approval"
        )
    return found


def _line(record: Mapping[str, object]) -> bytes:
    return json.dumps(record).encode("ascii")


def _whole_lines(content: bytes) -> bytes:
    """Leaves out the last line if a kill or power cut tore it.

    An editor may have saved the log without its last newline, or with other ends of lines: what
    begins with a whole record is not torn. No strict prefix of a JSON object is JSON.
    """
    end = content.rfind(b"\n") + 1
    try:
        json.JSONDecoder().raw_decode(content[end:].decode(errors="replace"))
    except (ValueError, RecursionError):
        return content[:end]
    return content
