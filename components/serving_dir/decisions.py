"""The decisions on a test set are counted, each before it is made.

    number = register(Path("serving"), decision, run_id="3f2a")

Where a version was released by a later decision than the log has, the log or a part of it is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from components.serving_dir.log import LOG_NAME, Decision, Lost, named, opened, utc_now
from components.serving_dir.model_files import explained
from components.serving_dir.reading import versions
from trainer.host.files import make_directory
from trainer.host.strict_json import is_count

_log = logging.getLogger(__name__)


def register(serving_dir: Path, decision: Decision, *, run_id: str) -> int:
    """Writes a decision down, unless the log has it; returns its number on its test set, from 1.

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
                            return number
                    case Lost(decision.test_digest, count):
                        number += count
            lost = max(0, told - number)
            records = [{"at": utc_now(), "run_id": run_id, **asdict(decision)}]
            if lost:
                _log.warning(
                    "%s lacks %d of the %d decisions on this test set that the versions tell of: "
                    "they count; what it alone knew as withdrawn or rejected is forgotten",
                    *(path, lost, told),
                )
                records.insert(0, named(Lost(decision.test_digest, lost)))
            log.append(records)
            return number + lost + 1


def _told(serving_dir: Path, test_digest: str) -> Iterator[int]:
    """Yields the numbers of the decisions on a test set by which versions were released."""
    for version in versions(serving_dir):
        match version.release:
            case {"dataset": {"splits": {"test": {"digest": digest}}}, "checks": list(checks)}:
                for check in checks if digest == test_digest else ():
                    match check:
                        case {"name": "test_budget", "actual": number} if is_count(number):
                            yield number
