"""The decisions that were made on each test set: `.decisions.jsonl` in the serving directory."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from components.gate.policy import Policy
from components.serving_dir.log import LOG_NAME, opened, read_lines, withdrawal_in
from trainer.host.files import make_directory


class DecisionLogError(RuntimeError):
    """One line: why the log cannot be used, and the remedy."""


@dataclasses.dataclass(frozen=True)
class Decision:
    """The subject of a decision, by digests; equal subjects are the same decision."""

    test_digest: str
    model_digest: str
    baseline_digest: str | None
    policy_digest: str


_FIELDS = tuple(field.name for field in dataclasses.fields(Decision))


def policy_digest(policy: Policy) -> str:
    """The hexadecimal SHA-256 of the thresholds."""
    return hashlib.sha256(json.dumps(policy.to_config(), sort_keys=True).encode()).hexdigest()


def register(
    directory: Path, decision: Decision, *, run_id: str, now: datetime | None = None
) -> int:
    """Writes a decision down, unless the log has it; returns its number on its test set, from 1.

    Call it before the decision is made: looking at the counts uses the test set up, even if the
    gate is killed then.

    Raises:
      DecisionLogError: the log cannot be read or written, or another process holds it.
    """
    at = (now or datetime.now(timezone.utc)).isoformat(timespec="seconds")
    try:
        make_directory(directory)
        with opened(directory) as log:
            known = _decisions(log.lines, log.path)
            on_this_set = [one for one in known if one.test_digest == decision.test_digest]
            if decision in on_this_set:
                return on_this_set.index(decision) + 1
            log.append([{"at": at, "run_id": run_id, **dataclasses.asdict(decision)}])
            return len(on_this_set) + 1
    except TimeoutError as error:
        raise DecisionLogError(
            f"cannot write the decision to {directory / LOG_NAME}: {error.strerror}; wait until it "
            "ends, and run again"
        ) from error
    except OSError as error:
        raise DecisionLogError(
            f"cannot write the decision to {directory / LOG_NAME}: {error.strerror or error}; give "
            "this user permission there and free space, and run again"
        ) from error


def require_readable(directory: Path) -> None:
    """Raises DecisionLogError if there is a log that cannot be read: before a model is trained."""
    try:
        lines = read_lines(directory)
    except OSError as error:
        raise DecisionLogError(
            f"cannot read the decisions in {directory / LOG_NAME}: {error.strerror or error}; give "
            "this user permission there, or restore the file"
        ) from error
    _decisions(lines, directory / LOG_NAME)


def _decisions(lines: Sequence[bytes], path: Path) -> list[Decision]:
    decisions = []
    for number, line in enumerate(lines, start=1):
        try:
            if withdrawal_in(line) is None:
                record = json.loads(line)
                decisions.append(Decision(**{name: record[name] for name in _FIELDS}))
        except (ValueError, KeyError) as error:
            raise DecisionLogError(
                f"line {number} of {path} is damaged ({error!r}): restore the file, or remove "
                "that line, which forgets one decision or one withdrawn model"
            ) from error
    return decisions
