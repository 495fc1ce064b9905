"""`tfx-mnist lineage`: where a released version comes from."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from components import serving_dir
from components.serving_dir import Version
from pipeline.cli import output, serving
from pipeline.cli.command import Reply
from pipeline.cli.option_types import whole
from pipeline.executions import Execution, NoMetadata, executions_of
from pipeline.result import overrides
from trainer.host.text import duration

_DIGITS = 12  # of a digest, for people
_UNKNOWN = "-"
_Fields = Mapping[str, Any]
# What is taken from a manifest's release record as it is.
_RECORDED = (
    *("run_id", "run_key", "preset", "seed", "training", "policy", "approval", "overrides"),
    *("dataset", "metrics", "baseline"),
)


@serving.command(
    "shown",
    "there is no such version, or it has no manifest that can be read",
    shows=lambda _: True,
)
@click.argument("version", metavar="[VERSION]", required=False, type=whole(0))
@serving.options
@serving.directory_of_config_option
@click.pass_context
def lineage(ctx: click.Context, /, directory: Path, version: int | None) -> Reply:
    """Shows where a released version comes from.

    Reads from the manifest of VERSION (default: the live one) its data with their digests, its
    configuration, the version that it was compared with and those before, and who approved it; and
    from ML Metadata in the pipeline root the executions of the run that released it, with the
    digests of their code and of what they wrote.
    """
    found = serving_dir.find(directory, version)
    if found.manifest is None:
        raise serving_dir.ServingDirError(
            f"version {found.number} in {found.path} {'; '.join(found.problems)}: its lineage is "
            "not known; restore its files"
        )
    release, rollback = found.release, found.rollback
    # Before ML Metadata is imported, behind which a warning is no line of ours.
    ancestors = _ancestors(directory, found)
    executions, problem = _executions(release, ctx.params["pipeline_root"])
    fields = {
        "serving_dir": str(directory),
        "version": found.number,
        "path": str(found.path),
        "published_at": found.manifest.published_at,
        "model_digest": found.model_digest,
        **{name: release.get(name) for name in _RECORDED},
        "rollback": dataclasses.asdict(rollback) if rollback else None,
        "withdrawn": dataclasses.asdict(found.withdrawn) if found.withdrawn else None,
        "ancestors": ancestors,
        "executions": None if problem else [dataclasses.asdict(one) for one in executions],
        "executions_problem": problem or None,
    }
    return Reply(fields, list(_lines(fields, executions)))


def _executions(release: _Fields, root: Path) -> tuple[list[Execution], str]:
    run_id = release.get("run_id")
    if not isinstance(run_id, str):
        return [], "the manifest names no run"
    base = "-".join(run_id.split("-")[:2])  # a run that begins again adds a word to its id
    try:
        found = executions_of(root.absolute() / "metadata.sqlite", base)
    except NoMetadata as error:
        return [], str(error)
    problem = f"{root} has no executions of the run {base}: give the --pipeline-root of the run"
    return found, "" if found else problem


def _ancestors(directory: Path, version: Version) -> list[dict[str, Any]]:
    """The version that it was compared with, the one that this was compared with, and so on."""
    present = {each.number: each for each in serving_dir.versions(directory)}
    chain: list[dict[str, Any]] = []
    there: Version | None = version
    while there and isinstance(parent := there.release.get("baseline"), Mapping):
        if any(each["version"] == parent["version"] for each in chain):
            break
        there = present.get(parent["version"])
        chain.append({**parent, "present": there is not None})
    return chain


def _lines(fields: _Fields, executions: Sequence[Execution]) -> Iterator[str]:
    yield f"version {fields['version']} in {fields['path']}"
    rows = [(name, text) for name, text in _facts(fields) if text]
    yield from (f"  {line}" for line in output.table(rows))
    if fields["executions_problem"]:
        yield f"executions: {fields['executions_problem']}"
        return
    yield "executions:"
    header = ("id", "component", "state", "started (UTC)", "time", "code", "wrote")
    yield from (f"  {line}" for line in output.table([header, *map(_row, executions)]))


def _facts(fields: _Fields) -> Iterator[tuple[str, str]]:
    yield "published", str(fields["published_at"])
    yield "run", str(fields["run_id"] or _UNKNOWN)
    yield "model", str(fields["model_digest"])
    dataset = fields["dataset"] or {}
    name, source = (dataset.get(key) or _UNKNOWN for key in ("name", "fingerprint"))
    yield "data set", f"{name}, source {source}"
    for name, split in (dataset.get("splits") or {}).items():
        yield f"split {name}", f"{split['rows']:,} examples, {split['digest']}"
    if (accuracy := (fields["metrics"] or {}).get("accuracy")) is not None:
        yield "accuracy", f"{accuracy:.4f}"
    parents = (
        f"version {each['version']} (model {each['model_digest'][:_DIGITS]}"
        f"{'' if each['present'] else ', removed'})"
        for each in fields["ancestors"]
    )
    yield "compared with", ", that with ".join(parents) or "nothing: a first release"
    if rollback := fields["rollback"]:
        yield "rollback", f"restores {rollback['restores']} in place of {rollback['withdraws']}"
    if withdrawn := fields["withdrawn"]:
        yield "withdrawn", f"by {withdrawn['by']}: {' '.join(withdrawn['reason'].split())}"
    yield "approved", _approval(fields["approval"])
    if fields["overrides"]:
        yield "overridden", overrides(fields["overrides"]).removeprefix("overrides ")
    yield "preset, seed", f"{fields['preset'] or _UNKNOWN}, {fields['seed']}"
    yield "training", _settings(fields["training"])
    yield "policy", _settings(fields["policy"])
    yield "run key", str(fields["run_key"] or _UNKNOWN)


def _approval(approval: Any) -> str:
    if not approval:
        return "by the gate alone"
    by, reason = (" ".join(approval[key].split()) for key in ("by", "reason"))
    return f"by {by} at {approval['at']}: {reason}"


def _settings(values: Any) -> str:
    if not isinstance(values, Mapping):
        return ""
    return ", ".join(
        f"{name} {value if isinstance(value, str) else json.dumps(value)}"
        for name, value in values.items()
        if value not in ("", None, [], {})
    )


def _row(one: Execution) -> tuple[str, ...]:
    state = one.state if one.made_by == one.id else f"{one.state}, made by {one.made_by}"
    wrote = ", ".join(
        f"{each.output} {(each.sha256 or _UNKNOWN)[:_DIGITS]}" for each in one.outputs
    )
    return (
        str(one.id),
        one.component,
        state,
        one.started[:19].replace("T", " "),
        _UNKNOWN if one.seconds is None else duration(one.seconds),
        (one.code or _UNKNOWN)[:_DIGITS],
        wrote or _UNKNOWN,
    )
