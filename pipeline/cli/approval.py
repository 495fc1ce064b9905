"""`tfx-mnist approve` and `reject`: a person decides on the model of a run with --hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from components import serving_dir
from components.serving_dir import StaleDecision
from components.serving_dir.manifest import REPORT
from pipeline import hooks, records
from pipeline.cli import output, serving
from pipeline.cli.command import SOME_TEXT, Command, CommandError, Reply, command, option
from pipeline.config import RunConfig
from pipeline.result import RELEASED, ExitCode


class _Overtaken(CommandError):
    """What was decided does not hold any more."""

    exit_code = ExitCode.REFUSED


def _command(done: str, refused: str) -> Callable[[Callable[..., Reply]], Command]:
    decorate = command(
        done=done,
        failed="no such run waits, or failed; nothing was changed, unless the line says so",
        usage="usage, or there is no such serving directory",
        refused=refused,
    )

    def add(function: Callable[..., Reply]) -> Command:
        why = option("--reason", "TEXT", "Reason, kept for good.", type=SOME_TEXT, required=True)
        who = option("--by", "NAME", "Who decides.", type=SOME_TEXT, required=True)
        run = click.argument("run_id", metavar="RUN")
        return decorate(run(who(why(serving.options(function)))))

    return add


@_command(
    "released, or the model is live already",
    "the served version or the held model was changed since the decision: nothing was released",
)
@serving.signing_key_option
@serving.config_option
def approve(
    directory: Path,
    run_id: str,
    by: str,
    reason: str,
    signing_key: Path | None,
    config: RunConfig | None,
) -> Reply:
    """Releases the model of a run with --hold.

    Publishes the model that passed the gates in RUN, if what it was compared with is still what is
    served, and its files are those that were decided on. Who approved it, and why, stands in the
    manifest of the version.

    With --config it asks for signatures by serving.public_key, signs with serving.signing_key, and
    then runs the command of hooks.released. A version that the run would have signed needs the key.
    """
    config = config or RunConfig()
    keys = serving.keys(config, signing_key)
    hooks.require_programs(config.hooks)
    report = _report_of(directory, run_id)
    try:
        done = serving_dir.approve(
            directory, run_id, by=by, reason=reason, sign=keys.sign, trust=keys.trust
        )
    except StaleDecision as stale:
        raise _Overtaken(str(stale)) from stale
    fields = {
        "serving_dir": str(directory),
        "run_id": run_id,
        **_released(directory, done.version),
        "created": done.created,
        "by": by,
        "reason": reason,
    }
    if done.created:
        sentence = f"Approved by {by} and released as version {done.version}: {reason}"
        _add_to(report, sentence, done.version)
        output.tell_hook(config.hooks, RELEASED, {**fields, "error": None})
    where = f"version {done.version} in {done.path}"
    line = f"released: {where}" if done.created else f"unchanged: {where} holds this model already"
    return Reply(fields, [line])


@_command("rejected", "")
def reject(directory: Path, run_id: str, by: str, reason: str) -> Reply:
    """Rejects the model of a run with --hold.

    Removes the model that waits, and keeps in the decision log who rejected it and why. This very
    model is refused from then on, whichever run makes it again; versions stay what they are.
    """
    report = _report_of(directory, run_id)
    done = serving_dir.reject(directory, run_id, by=by, reason=reason)
    _add_to(report, f"Rejected by {by}: {reason}", None)
    fields: dict[str, Any] = {"serving_dir": str(directory), **dataclasses.asdict(done)}
    return Reply(fields, [f"rejected: the model of {run_id}; what is served stays"])


def _released(directory: Path, number: int) -> dict[str, Any]:
    """What `run --json` says of a release as well."""
    version = serving_dir.find(directory, number)
    record: Mapping[str, Any] = version.manifest.release if version.manifest else {}
    return {
        "dataset": serving.dataset_of(record),
        "metrics": record.get("metrics"),
        "release": {"version": number, "path": str(version.path)},
    }


def _report_of(directory: Path, run_id: str) -> Path | None:
    reports = {one.run_id: one.release.get(REPORT) for one in serving_dir.pending(directory)}
    path = reports.get(run_id)
    return Path(path) if path else None


def _add_to(report: Path | None, sentence: str, version: int | None) -> None:
    """Says in the report of the run, and in the list of runs, what was decided."""
    if report is None or not report.is_file():  # it was moved, or lies on another machine
        return
    sentence = " ".join(sentence.split())
    try:
        from pipeline.report import add_decision, index

        add_decision(report, sentence)
        record = report.with_suffix(".json")
        if record.is_file():
            records.add_decision(record, sentence, version)
            index.write(report.parent.parent)
    except (OSError, ValueError) as error:
        output.complain(f"the report {report} cannot be changed: {error}; the decision stands")
