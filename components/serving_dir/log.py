"""The log beside the versions: JSON objects, one a line, each of them there whole or not at all.

    with opened(Path("serving")) as log:          # this process alone
        log.append([{"at": "2026-11-26", "run_id": "3f2a"}])
        log.lines                                 # those that were there before, as bytes

It outlives every version and every pipeline root, and is no version to TensorFlow Serving. Which
decisions were made stands in it (`components.gate.decision_log`), and which models were withdrawn
(`withdrawals`).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.host.files import open_descriptor, read_regular, sync_directory
from trainer.host.locks import exclusive

LOG_NAME = ".decisions.jsonl"
LOCK_S = 60.0  # to write a line takes milliseconds

_MAX_BYTES = 1 << 27  # some 300,000 decisions


@dataclass(frozen=True)
class Log:
    """A log that this process holds.

    Attributes:
        path: of the file.
        lines: what it held when it was opened.
        descriptor: of the open file.
    """

    path: Path
    lines: tuple[bytes, ...]
    descriptor: int

    def append(self, records: Sequence[Mapping[str, object]]) -> None:
        """Writes lines and syncs them to disk, the file's name too where these are the first.

        Raises:
            OSError: nothing was written.
        """
        text = b"".join(to_line(record) + b"\n" for record in records)
        end = os.fstat(self.descriptor).st_size
        try:
            _write(self.descriptor, text)
            os.fsync(self.descriptor)
            if not end:
                sync_directory(self.path.parent)
        except BaseException:
            os.ftruncate(self.descriptor, end)
            raise


@contextlib.contextmanager
def opened(serving_dir: Path) -> Iterator[Log]:
    """Opens the log for this process alone; the kernel lets go of a killed one's.

    Half a line, which a kill or a power cut left, is cut off.

    Raises:
        AlreadyLocked: another process still held it after `LOCK_S` seconds.
        OSError: it cannot be opened.
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


def to_line(record: Mapping[str, object]) -> bytes:
    """Returns the line that holds a record, without its end."""
    return json.dumps(record).encode("ascii")


def read_lines(serving_dir: Path) -> tuple[bytes, ...]:
    """Returns the log's lines without holding it; none where there is no log.

    Raises:
        OSError: it cannot be read.
    """
    try:
        content = read_regular(serving_dir / LOG_NAME, max_bytes=_MAX_BYTES)
    except FileNotFoundError:
        return ()
    return tuple(_whole_lines(content).splitlines())


def _whole_lines(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]


def _write(descriptor: int, content: bytes) -> None:
    """Writes all of it: the system may take less than it is given, without an error."""
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]
