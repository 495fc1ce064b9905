"""Which decisions were made on which test set: an append-only file beside the versions.

    decision = Decision(test_digest="bfa9", model_digest="1c77", baseline_digest=None,
                        policy_digest="7e0d")
    number = register(Path("serving"), decision, run_id="20261124T103000Z-3f2a")
    number                                     # 3: two others were made on that test set before

Each decision tells something of the test set it is made on, so the gate counts them
(`pipeline.gate.Policy.floor_confidence`). The log lies in the serving directory, as
`.decisions.jsonl`: it is about this line of releases, outlives the pipeline root, and is no
version to TensorFlow Serving. Neither TFX nor TensorFlow is imported.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from pipeline.gate import Policy

LOG_NAME = ".decisions.jsonl"


class DecisionLogError(RuntimeError):
    """One line: why the log cannot be used, and the remedy."""


@dataclasses.dataclass(frozen=True)
class Decision:
    """What is decided, by digests; the same again is the same decision.

    Attributes:
      test_digest: of the test split.
      model_digest: of the candidate's files.
      baseline_digest: of the files of what it is compared with; None with nothing to compare.
      policy_digest: of the thresholds, see `policy_digest`.
    """

    test_digest: str
    model_digest: str
    baseline_digest: str | None
    policy_digest: str


def policy_digest(policy: Policy) -> str:
    """Hex SHA-256 of the thresholds."""
    return hashlib.sha256(json.dumps(policy.to_config(), sort_keys=True).encode()).hexdigest()


def register(
    directory: Path, decision: Decision, *, run_id: str, now: datetime | None = None
) -> int:
    """Writes the decision down, unless it stands there already.

    It is written before it is made: looking is what uses the test set up, and a gate that was
    killed has looked.

    Args:
      directory: where the log lies; created if need be.
      decision: what is about to be decided.
      run_id: for people.
      now: the time to write down; None for the clock's.

    Returns:
      How many decisions on that test set there are up to this one, itself included.

    Raises:
      DecisionLogError: the log cannot be read or written.
    """
    path = directory / LOG_NAME
    at = (now or datetime.now(timezone.utc)).isoformat(timespec="seconds")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _locked(path) as log:
            known = _read(log, path)
            on_this_set = [one for one in known if one.test_digest == decision.test_digest]
            if decision in on_this_set:
                return on_this_set.index(decision) + 1
            record = {"at": at, "run_id": run_id, **dataclasses.asdict(decision)}
            os.write(log, json.dumps(record).encode("ascii") + b"\n")
            os.fsync(log)
            return len(on_this_set) + 1
    except OSError as error:
        raise DecisionLogError(
            f"cannot write the decision to {path}: {error.strerror or error}; give this user "
            "permission there and free space, and run again"
        ) from error


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The log's descriptor, held by this process alone; the kernel lets go of a killed one's."""
    log = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(log, fcntl.LOCK_EX)
        yield log
    finally:
        os.close(log)


def _read(log: int, path: Path) -> list[Decision]:
    """The decisions in their order; half a line, which a kill or a full disk left, is cut off."""
    with open(os.dup(log), "rb") as file:
        file.seek(0)
        content = file.read()
    whole, newline, rest = content.rpartition(b"\n")
    if rest:
        os.ftruncate(log, len(whole) + len(newline))
    names = [field.name for field in dataclasses.fields(Decision)]
    decisions = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            record = json.loads(line)
            decisions.append(Decision(**{name: record[name] for name in names}))
        except (ValueError, KeyError, TypeError) as error:
            raise DecisionLogError(
                f"line {number} of {path} is damaged ({error!r}): restore the file, or remove that "
                "line, which forgets one decision"
            ) from error
    return decisions
