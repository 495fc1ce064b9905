"""The decisions on a test set are counted, each before it is made.

    number, lost = register(Path("serving"), decision, run_id="3f2a")

Where a version was released by a later decision than the log has, the log or a part of it is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from components.serving_dir.log import LOG_NAME, Decision, Lost, named, opened, utc_now
from components.serving_dir.model_files import explained
from components.serving_dir.reading import versions
from trainer.host.files import make_directory
from trainer.host.strict_json import is_count


class Counted(NamedTuple):
    """The number of a decision on its test set, from 1.

    Attributes:
      lost: how many of those before it the log turned out to have lost, as the versions tell.
    """

    number: int
    lost: int = 0


def register(serving_dir: Path, decision: Decision, *, run_id: str) -> Counted:
    """Writes a decision down, unless the log has it; returns its number.

    Call it before the decision is made: looking at the counts uses the test set up, even if the
    gate is killed then. A ServingDirError says that the log cannot be read or written.

    Decisions that the log has lost, as the versions tell, are counted from then on, too.
    """
    path = serving_dir / LOG_NAME
    with explained(f"write the decision to {path}", ", and run again"):
        make_directory(serving_dir)
        told = max(_told(serving_dir, decision.test_digest), default=0)
        with opened(serving_dir) as log:
            number = 0
            for one in log.entries():
                match one:
                    case Decision(decision.test_digest):
                        number += 1
                        if one == decision:
                            return Counted(number)
                    case Lost(decision.test_digest, count):
                        number += count
            lost = max(0, told - number)
            records = [{"at": utc_now(), "run_id": run_id, **asdict(decision)}]
            if lost:
                records.insert(0, named(Lost(decision.test_digest, lost)))
            log.append(records)
            return Counted(number + lost + 1, lost)


def _told(serving_dir: Path, test_digest: str) -> Iterator[int]:
    """Yields the numbers of the decisions on a test set by which versions were released."""
    for version in versions(serving_dir):
        match version.release:
            case {"dataset": {"splits": {"test": {"digest": digest}}}, "checks": list(checks)}:
                for check in checks if digest == test_digest else ():
                    match check:
                        case {"name": "test_budget", "actual": number} if is_count(number):
                            yield number
