"""`tfx-mnist approve` and `reject`: a person decides on the model of a run with --hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from components import serving_dir
from components.serving_dir import ServingDirError
from components.serving_dir.log import rejected
from components.serving_dir.reading import approved
from pipeline.cli import output, serving
from pipeline.cli.command import Command, CommandError, Reply, option
from pipeline.cli.option_types import SOME_TEXT
from pipeline.config import HooksConfig, ServingConfig
from pipeline.result import RELEASED
from trainer.host.termination import Terminated


def _command(done: str, refused: str) -> Callable[[Callable[..., Reply]], Command]:
    failed = "no such run waits, or failed; nothing was changed, unless the line says so"
    decorate = serving.command(done, failed, refused=refused)

    def add(function: Callable[..., Reply]) -> Command:
        why = option("--reason", "TEXT", "Reason, kept for good.", type=SOME_TEXT, required=True)
        who = option("--by", "NAME", "Who decides.", type=SOME_TEXT, required=True)
        run = click.argument("run_id", metavar="RUN")
        return decorate(run(who(why(function))))

    return add


@_command(
    "released, or the model is live already",
    "the served version or the held model was changed since the decision: nothing was released",
)
@serving.options
@serving.signing_options
def approve(
    directory: Path, run_id: str, by: str, reason: str, keys: ServingConfig, hooks: HooksConfig
) -> Reply:
    """Releases the model of a run with --hold.

    Publishes the model that passed the gates in RUN, if it was compared with the version that is
    still served, and its files have not changed. The manifest of the new version says who approved
    it, and why.

    With --config it requires signatures by serving.public_key, signs with serving.signing_key, and
    then runs the command of hooks.released. A model that the run would have signed needs the key.
    """
    done = None
    try:
        done = serving_dir.approve(
            directory,
            run_id,
            by=by,
            reason=reason,
            sign=keys.sign,
            trust=keys.trust,
            trust_held=keys.trust_again,
        )
        if made := approved(directory).get(run_id):  # maybe by an earlier command, killed then
            by, reason = made.by, made.reason
        release = serving_dir.find(directory, done.version).release
        fields = {
            "serving_dir": str(directory),
            "run_id": run_id,
            "dataset": serving.dataset_of(release),
            "metrics": release.get("metrics"),
            "release": {"version": done.version, "path": str(done.path)},
            "created": done.created,
            "by": by,
            "reason": reason,
        }
        if done.created:
            output.tell_hook(hooks, RELEASED, {**fields, "error": None})
    except ServingDirError as error:
        if done is None:
            raise
        raise CommandError(f"after version {done.version} was released: {error}") from error
    except (KeyboardInterrupt, Terminated):
        if before := approved(directory).get(run_id):  # for scripts that would try again
            path = directory / str(before.version)
            output.complain(f"released before that: version {before.version} in {path}")
        raise
    where = f"version {done.version} in {done.path}"
    line = f"released: {where}" if done.created else f"unchanged: {where} holds this model already"
    return Reply(fields, [line])


@_command("rejected", "")
@serving.options
@serving.directory_of_config_option
def reject(directory: Path, run_id: str, by: str, reason: str) -> Reply:
    """Rejects the model of a run with --hold.

    Removes the model that waits, and keeps in the decision log who rejected it and why. This very
    model is refused from then on, whichever run makes it again. Released versions do not change.
    """
    try:
        done = serving_dir.reject(directory, run_id, by=by, reason=reason)
    except (KeyboardInterrupt, Terminated):
        if run_id in rejected(directory):
            output.complain(f"rejected before that: the model of {run_id}")
        raise
    fields: dict[str, Any] = {"serving_dir": str(directory), **dataclasses.asdict(done)}
    return Reply(fields, [f"rejected: the model of {run_id}; what is served stays"])
