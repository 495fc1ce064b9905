"""Models that are not to be served again, for good: also when no version tells of them any more.

A rollback's manifest is where a withdrawal is made (`rolling_back`). Before the version with that
manifest may go, the withdrawn model's digest is kept in the log beside the versions::

    keep(Path("serving"), [withdrawal])
    kept(Path("serving"))                         # [withdrawal], whatever versions are left
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from components.serving_dir.errors import ServingDirError, explain
from components.serving_dir.log import LOG_NAME, opened, read_lines, to_line
from trainer.host import strict_json
from trainer.host.text import quoted

RECORD = "withdrawal"  # the key of a withdrawal in a line of the log


@dataclass(frozen=True)
class Withdrawal:
    """Why a version and its model are not to be served again.

    Attributes:
        version: the number that was withdrawn.
        model_digest: the model that was withdrawn with it; None where only its files were at fault.
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

    @classmethod
    def from_json(cls, record: object) -> Withdrawal | None:
        """Reads what `dataclasses.asdict` gave; None for anything else."""
        match record:
            case {
                "version": int(version),
                "model_digest": str() | None as digest,
                "by": int(by),
                "reason": str(reason),
                "at": str(at),
            }:
                return cls(version, digest, by, reason, at)
        return None


def keep(serving_dir: Path, withdrawals: Sequence[Withdrawal]) -> None:
    """Writes down, on disk, which models were withdrawn; what stands there already is left alone.

    Raises:
        OSError: nothing was written.
    """
    records = [{RECORD: asdict(one)} for one in withdrawals if one.model_digest is not None]
    if not records:
        return
    with opened(serving_dir) as log:
        new = [record for record in records if to_line(record) not in log.lines]
        if new:
            log.append(new)


def kept(serving_dir: Path) -> list[Withdrawal]:
    """Returns what `keep` wrote, oldest first.

    Raises:
        ServingDirError: the log cannot be read.
    """
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
            withdrawal = read(line)
        except ValueError as error:
            raise ServingDirError(
                f"line {number} of {path} is damaged ({error}): restore the file, or remove that "
                "line, which forgets one decision or one withdrawn model"
            ) from error
        if withdrawal is not None:
            found.append(withdrawal)
    return found


def read(line: bytes) -> Withdrawal | None:
    """Returns the withdrawal in a line of the log; None where it tells of something else.

    Raises:
        ValueError: the line is damaged.
    """
    record = strict_json.loads(line.decode("ascii"))
    if not isinstance(record, dict):
        raise ValueError(f"it is {quoted(record)}, expected an object")
    if RECORD not in record:
        return None
    withdrawal = Withdrawal.from_json(record[RECORD])
    if withdrawal is None or withdrawal.model_digest is None:
        raise ValueError("it names no withdrawn model")
    return withdrawal
