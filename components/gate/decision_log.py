"""The decisions that were made on each test set: an append-only file beside the versions.

    decision = Decision(test_digest="bfa9", model_digest="1c77", baseline_digest=None,
                        policy_digest="7e0d")
    number = register(Path("serving"), decision, run_id="20261124T103000Z-3f2a")
    number                                     # 3: two others were made on that test set before

Each decision tells something about its test set, so the gate counts them
(`components.gate.policy.Policy.release_alpha`). The log is `.decisions.jsonl` in the serving
directory (`components.serving_dir.log`).
"""

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
    """The subject of a decision, by digests; equal subjects are the same decision.

    Attributes:
      test_digest: that of the test split.
      model_digest: that of the candidate's files.
      baseline_digest: that of the served model's files; None without one.
      policy_digest: see the function of that name.
    """

    test_digest: str
    model_digest: str
    baseline_digest: str | None
    policy_digest: str


_FIELDS = tuple(field.name for field in dataclasses.fields(Decision))


def policy_digest(policy: Policy) -> str:
    """Returns the hexadecimal SHA-256 of the thresholds."""
    return hashlib.sha256(json.dumps(policy.to_config(), sort_keys=True).encode()).hexdigest()


def register(
    directory: Path, decision: Decision, *, run_id: str, now: datetime | None = None
) -> int:
    """Writes a decision down, unless it is in the log already.

    Call it before the decision is made: looking at the counts uses the test set up, even if the
    gate is killed then.

    Args:
      directory: that of the log; made if it is missing.
      decision: the one to be made.
      run_id: for people.
      now: the time of the decision; None for the clock's.

    Returns:
      The number of this decision on its test set, from 1.

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
    """Reads the log if there is one, so that damage is found before a model is trained.

    Raises:
      DecisionLogError: the log cannot be read.
    """
    try:
        lines = read_lines(directory)
    except OSError as error:
        raise DecisionLogError(
            f"cannot read the decisions in {directory / LOG_NAME}: {error.strerror or error}; give "
            "this user permission there, or restore the file"
        ) from error
    _decisions(lines, directory / LOG_NAME)


def _decisions(lines: Sequence[bytes], path: Path) -> list[Decision]:
    """Returns the decisions in their order."""
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
