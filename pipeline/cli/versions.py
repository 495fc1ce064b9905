"""`tfx-mnist versions`: lists the released versions, and which one is live."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from components.serving_dir import Version
from components.serving_dir import versions as read_versions
from pipeline.cli import output, serving
from pipeline.cli.command import Command
from pipeline.result import ExitCode

_DIGEST_DIGITS = 8
_UNKNOWN = "-"
_HEADER = ("version", "published (UTC)", "run", "data set", "accuracy", "baseline", "files", "")


@click.command(
    cls=Command,
    shows=lambda _: True,
    exit_codes={
        ExitCode.DONE: "listed, damaged versions as well",
        ExitCode.FAILED: "the serving directory cannot be read",
        ExitCode.USAGE: "usage, or there is no such serving directory",
    },
)
@serving.options
def versions(directory: Path, as_json: bool) -> int:
    """Lists the released versions, and which one is live.

    Shows for every version in a serving directory when and by which run it was released, on which
    data, its accuracy, its baseline, whether its files match its manifest, and whether it was
    withdrawn. The live version is the highest, which the server serves.
    """
    present = read_versions(directory, check_files=True)
    described = [_describe(version, live=version is present[-1]) for version in present]
    live = present[-1].number if present else None
    fields = {"serving_dir": str(directory), "live": live, "versions": described}
    lines = [f"serving directory: {directory}", *_lines(described)]
    output.answer(fields, lines, as_json=as_json)
    return ExitCode.DONE


def _describe(version: Version, *, live: bool) -> dict[str, Any]:
    """Returns what is known of a version, JSON-able, with None for the rest.

    Args:
      version: from `versions(..., check_files=True)`.
      live: whether it is the highest one.
    """
    manifest = version.manifest
    release = manifest.release if manifest else {}
    rollback = manifest.rollback if manifest else None
    return {
        "version": version.number,
        "path": str(version.path),
        "live": live,
        "published_at": manifest.published_at if manifest else None,
        "run_id": release.get("run_id"),
        "dataset": {
            "name": _field(release, "dataset", "name"),
            "digest": _field(release, "dataset", "fingerprint"),
        },
        "accuracy": _field(release, "metrics", "accuracy"),
        "baseline": release.get("baseline"),
        "model_digest": version.model_digest,
        "valid": not version.problems,
        "problems": list(version.problems),
        "rollback": dataclasses.asdict(rollback) if rollback else None,
        "withdrawn": dataclasses.asdict(version.withdrawn) if version.withdrawn else None,
    }


def _lines(described: Sequence[Mapping[str, Any]]) -> list[str]:
    if not described:
        return ["no version yet"]
    lines = output.table([_HEADER, *map(_row, described)])
    if not all(version["valid"] for version in described):
        lines.append("`tfx-mnist verify` says what is wrong with damaged files")
    return lines


def _row(version: Mapping[str, Any]) -> tuple[str, ...]:
    accuracy, baseline = version["accuracy"], version["baseline"]
    return (
        str(version["version"]),
        (version["published_at"] or _UNKNOWN)[:19].replace("T", " "),
        str(version["run_id"] or _UNKNOWN),
        _dataset(version["dataset"]),
        _UNKNOWN if accuracy is None else f"{accuracy:.4f}",
        str(baseline["version"]) if baseline else _UNKNOWN,
        "match" if version["valid"] else "damaged",
        "; ".join(_remarks(version)),
    )


def _dataset(dataset: Mapping[str, Any]) -> str:
    return (
        " ".join(filter(None, [dataset["name"], (dataset["digest"] or "")[:_DIGEST_DIGITS]]))
        or _UNKNOWN
    )


def _remarks(version: Mapping[str, Any]) -> list[str]:
    remarks = ["live"] if version["live"] else []
    if rollback := version["rollback"]:
        remarks.append(f"restores {rollback['restores']} in place of {rollback['withdraws']}")
    if withdrawn := version["withdrawn"]:
        reason = " ".join(withdrawn["reason"].split())
        remarks.append(f"withdrawn by {withdrawn['by']}{f': {reason}' if reason else ''}")
    return remarks


def _field(release: Mapping[str, object], section: str, name: str) -> Any:
    """Returns a value of a section of the release record, or None."""
    inner = release.get(section)
    return inner.get(name) if isinstance(inner, Mapping) else None
