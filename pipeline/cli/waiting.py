"""The models that wait for approval, as `tfx-mnist versions` lists them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components import serving_dir
from components.serving_dir import Pending, ServingDirError
from components.serving_dir.manifest import OVERRIDES
from components.serving_dir.version import Trust
from pipeline.cli import output, summary


def described(directory: Path, trust: Trust | None) -> list[dict[str, Any]]:
    """Returns what `--json` lists, oldest first; complains if they cannot be read."""
    return [_describe(one, directory, trust) for one in _found(directory)]


def _found(directory: Path) -> list[Pending]:
    try:
        return serving_dir.pending(directory)
    except ServingDirError as error:  # the versions can be shown all the same
        output.complain(str(error))
        return []


def _describe(one: Pending, directory: Path, trust: Trust | None) -> dict[str, Any]:
    metrics: Mapping[str, Any] = one.release.get("metrics") or {}
    baseline = one.decided.compared.baseline
    return {
        "run_id": one.run_id,
        "path": str(one.path),
        "held_at": one.held_at,
        "model_digest": one.decided.model_digest,
        "accuracy": metrics.get("accuracy"),
        "baseline": baseline and baseline.to_json(),
        "overrides": one.release.get(OVERRIDES),
        "checks": one.release.get("checks"),
        "overtaken": not one.still_holds(directory, trust),
    }


def line(one: Mapping[str, Any]) -> str:
    """Returns the line for people."""
    accuracy = "-" if one["accuracy"] is None else f"{one['accuracy']:.4f}"
    against = f"version {one['baseline']['version']}" if one["baseline"] else "nothing"
    over = ", overtaken: it cannot be approved any more" if one["overtaken"] else ""
    made = f", {summary.overrides(one['overrides'])}" if one["overrides"] else ""
    return f"waits: {one['run_id']}, accuracy {accuracy}, compared with {against}{over}{made}"
