"""What is known of the runs of a pipeline root: a JSON file per run beside its report.

    write(result, Path("pipeline_root/reports"))
    for run in read_all(Path("pipeline_root")):        # the newest first
        print(run.run_id, run.outcome, run.reason)

A run makes its log first and its record last, so a log without a record is that of a run that is at
work, or was killed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from components import serving_dir
from components.serving_dir.log import Approval, Rejection, rejected
from components.serving_dir.manifest import are_overrides
from components.serving_dir.reading import approved
from pipeline.config import SERVING
from pipeline.result import (
    FAILED,
    HELD,
    REFUSED,
    RELEASED,
    UNCHANGED,
    RunResult,
    json_able,
    overrides,
)
from trainer.host import strict_json
from trainer.host.files import read_regular, write_durably

REPORTS = "reports"  # the directory of reports and records, below the pipeline root

UNFINISHED = "unfinished"  # at work, or killed
UNREADABLE = "unreadable"  # its record is no record, or is missing beside its report

_OUTCOMES = (RELEASED, HELD, UNCHANGED, REFUSED, FAILED)
_WAITS = "the model waited for approval: `tfx-mnist versions` says whether it was approved"
_MAX_BYTES = 16 << 20
_RUN_ID = re.compile(r"(\d{8}T\d{6}Z)-[0-9a-f]{4}")
_Fields = Mapping[str, Any]


# What people decided on the held models of a serving directory, by the run that held them.
_Decisions = Mapping[str, Rejection | Approval]
_DecisionsIn = Callable[[Path], _Decisions]


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """One run, None where something is not known.

    Attributes:
      started: UTC.
      outcome: those of a result, or one of the constants above.
      reason: why it was refused, failed or is unfinished, or what was decided on its model since,
        and what was overridden for it, in one line; or "".
      accuracy: on the test split, 0..1.
      version: that holds its model.
      report, log: that exist.
    """

    run_id: str
    started: datetime.datetime
    outcome: str
    reason: str = ""
    dataset: str | None = None
    accuracy: float | None = None
    version: int | None = None
    seconds: float | None = None
    report: Path | None = None
    log: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the object that `runs --json` lists."""
        return {
            **dataclasses.asdict(self),
            "started": self.started.isoformat(),
            "report": self.report and str(self.report),
            "log": self.log and str(self.log),
        }


def write(result: RunResult, reports: Path) -> None:
    """Writes the object of `--json`, completely or not at all; raises OSError."""
    content = json.dumps(json_able(result.to_dict()), allow_nan=False, indent=1)
    write_durably(reports / f"{result.run_id}.json", content + "\n")


def read_all(root: Path) -> list[RunRecord]:
    """Returns all runs of a pipeline root, the newest first; raises OSError."""
    places = ((REPORTS, ".json"), ("logs", ".log"))
    run_ids = {each for folder, suffix in places for each in _names(root / folder, suffix)}
    decisions_in = functools.cache(_decisions_in)
    found = [_read(root, run_id, decisions_in) for run_id in run_ids]
    return sorted((each for each in found if each), key=lambda each: each.run_id, reverse=True)


def _names(folder: Path, suffix: str) -> set[str]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return set()
    return {name.removesuffix(suffix) for name in names if name.endswith(suffix)}


def _read(root: Path, run_id: str, decisions_in: _DecisionsIn) -> RunRecord | None:
    """Reads a run; None for a file of another name than a run has."""
    match = _RUN_ID.fullmatch(run_id)
    if match is None:
        return None
    try:
        began = datetime.datetime.strptime(match[1] + "+0000", "%Y%m%dT%H%M%SZ%z")
    except ValueError:
        return None
    paths = {"report": root / REPORTS / f"{run_id}.html", "log": root / "logs" / f"{run_id}.log"}
    given: dict[str, Any] = {name: path for name, path in paths.items() if path.is_file()}
    record = root / REPORTS / f"{run_id}.json"
    try:
        content = strict_json.loads(read_regular(record, max_bytes=_MAX_BYTES).decode())
        return RunRecord(run_id, began, **_described(content, root, decisions_in), **given)
    except FileNotFoundError:
        if "report" in given:  # it is written when the outcome is known
            reason = "its report says how it ended; runs of older versions left no record"
            return RunRecord(run_id, began, UNREADABLE, reason, **given)
        in_containers = (root / "kubeflow" / run_id).exists()
        again = "begins anew" if in_containers else "goes on from what is finished"
        reason = f"it is at work, or was killed: the same command {again}"
        return RunRecord(run_id, began, UNFINISHED, reason, **given)
    except (OSError, ValueError) as error:
        reason = f"{record} cannot be read: {error}"
        return RunRecord(run_id, began, UNREADABLE, reason, **given)


def _described(content: Any, root: Path, decisions_in: _DecisionsIn) -> dict[str, Any]:
    if not isinstance(content, dict) or content.get("outcome") not in _OUTCOMES:
        raise ValueError("it is no record of a run")
    release, metrics, dataset, seconds = (
        _object(content, name) for name in ("release", "metrics", "dataset", "seconds")
    )
    waits = _object(content, "pending") if content["outcome"] == HELD else {}
    path, decided = None, None
    if isinstance(waits.get("path"), str):
        held_by = str(waits.get("run_id"))
        path = _found(Path(waits["path"]), held_by, root, decisions_in)
        decided = decisions_in(path.parent).get(held_by)
    version = decided.version if isinstance(decided, Approval) else release.get("version")
    version = version if strict_json.is_count(version) else None
    said = [str(decided) if decided else _reason(content, path)]
    overridden = _object(_object(content, "gate"), "overrides")
    if version is not None and are_overrides(overridden):
        said.append(overrides(overridden))
    return {
        "outcome": content["outcome"],
        "reason": "; ".join(filter(None, said)),
        "dataset": dataset.get("name") if isinstance(dataset.get("name"), str) else None,
        "accuracy": _number(metrics.get("accuracy"), most=1.0),
        "version": version,
        "seconds": _number(seconds.get("total"), most=math.inf),
    }


def _found(recorded: Path, run_id: str, root: Path, decisions_in: _DecisionsIn) -> Path:
    """Returns where a held model is or was, also in a pipeline root that was moved or copied."""
    own = root / SERVING / recorded.parent.name / recorded.name
    return own if own.exists() or run_id in decisions_in(own.parent) else recorded


def _decisions_in(served: Path) -> _Decisions:
    with contextlib.suppress(serving_dir.ServingDirError):
        return {**rejected(served), **approved(served)}
    return {}


def _object(content: _Fields, name: str) -> _Fields:
    value = content.get(name)
    return value if isinstance(value, dict) else {}


def _number(value: object, *, most: float) -> float | None:
    is_number = isinstance(value, float | int) and not isinstance(value, bool)
    return float(value) if is_number and 0.0 <= value <= most else None  # type: ignore[arg-type, operator]


def _reason(content: _Fields, path: Path | None) -> str:
    """The error, where a held model waits, or the first failed check and how many others failed."""
    if isinstance(content.get("error"), str):
        return " ".join(content["error"].split())
    if content["outcome"] == HELD:
        if path and not os.path.exists(path):
            return f"the model waited for approval in {path}, which is gone: run again"
        return _WAITS
    checks = _object(content, "gate").get("checks")
    failed = [
        check
        for check in (checks if isinstance(checks, list) else [])
        if isinstance(check, dict) and check.get("passed") is False
    ]
    if not failed:
        return ""
    more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    return f"{failed[0].get('name')}: {' '.join(str(failed[0].get('sentence')).split())}{more}"
