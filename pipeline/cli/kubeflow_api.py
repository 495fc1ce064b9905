"""`tfx-mnist kubeflow submit`, `schedule`, `schedules`, `unschedule` and `status`."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import logs
from pipeline.cli.command import (
    LOCAL_PATH,
    Command,
    CommandError,
    Reply,
    UsageError,
    option,
    path_option,
    verbose,
)
from pipeline.result import ExitCode
from pipeline.runners.kubeflow.names import require_kfp
from trainer.host.files import read_regular
from trainer.host.text import quoted

if TYPE_CHECKING:  # kfp stands behind it
    from kfp_server_api import V2beta1RecurringRun

    from pipeline.runners.kubeflow.client import PipelineClient, RunStatus
    from pipeline.runners.kubeflow.parameters import Run

    _Client = contextlib.AbstractContextManager[PipelineClient]

_EXIT_CODES = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "the API does not answer, or refuses",
    ExitCode.USAGE: "usage refused, or there is nothing of that name",
}
_MAX_TOKEN_BYTES = 1 << 16  # it goes into a header of HTTP, where servers take 8 to 64 KiB
# Also in `pipeline.runners.kubeflow.parameters`, which would import the configuration.
_VALUES = ("dataset", "preset", "seed", "epochs", "floor")
_CONNECTION = ("host", "namespace", "token_file", "ca_file", "cert_file", "key_file")

_Function = Callable[..., Reply]


def _name(_: click.Context, param: click.Parameter, value: str) -> str:
    if not value.strip():
        raise click.BadParameter(f"is {quoted(value)}, expected a name", param=param)
    return value


def _cron(_: click.Context, param: click.Parameter, value: str) -> str:
    """The backend reads the fields by robfig/cron 1.2 and checks the values in them."""
    if not re.fullmatch(r"@\w+( \S+)?|\s*(\S+\s+){5}\S+\s*", value):
        expected = "six fields, seconds first, such as '0 0 2 * * *', or one such as @daily"
        raise click.BadParameter(f"is {quoted(value)}, expected {expected}", param=param)
    return value


def _file(flag: str, name: str, text: str) -> Callable[[Any], Any]:
    return click.option(flag, name, metavar="FILE", help=text, type=LOCAL_PATH)


def _connection(function: _Function) -> _Function:
    """Adds the options by which the API is reached; the function takes a client to enter."""

    @option(
        "--host", "URL", "The API, such as http://localhost:8888 of a port-forward.", required=True
    )
    @option(
        "--namespace", "NAME", "The user's namespace, if the cluster has several users.", default=""
    )
    @_file("--token-file", "token_file", "File with a bearer token, which is read at each start.")
    @_file(
        "--ca-cert",
        "ca_file",
        "Certificates of authorities to trust for the API.",
    )
    @_file("--cert", "cert_file", "Client certificate, PEM; needs --key.")
    @_file("--key", "key_file", "Private key of --cert.")
    @verbose
    @functools.wraps(function)
    def with_client(*, verbose: bool, **values: Any) -> Reply:
        given = {name: values.pop(name) for name in _CONNECTION}
        return function(client=_connected(_connection_of(**given), verbose=verbose), **values)

    return with_client


def _connection_of(
    *, host: str, namespace: str, token_file: Path | None, **certificates: Path | None
) -> dict[str, Any]:
    if not host.startswith(("http://", "https://")):
        raise UsageError(f"--host is {quoted(host)}, expected http:// or https://")
    if (certificates["cert_file"] is None) != (certificates["key_file"] is None):
        given, missing = ("--key", "--cert") if certificates["key_file"] else ("--cert", "--key")
        raise UsageError(f"{given} is given alone, expected {missing} with it")
    for flag, name in (("--ca-cert", "ca_file"), ("--cert", "cert_file"), ("--key", "key_file")):
        path = certificates[name]
        if path is not None and not path.is_file():
            raise UsageError(f"{flag} is {quoted(str(path))}, expected a file")
    token = _token(token_file) if token_file else ""
    return {"host": host, "namespace": namespace, "token": token, **certificates}


@contextlib.contextmanager
def _connected(connection: Mapping[str, Any], *, verbose: bool) -> Iterator[PipelineClient]:
    require_kfp()
    with logs.quiet(show=verbose):
        from pipeline.runners.kubeflow import client

        try:
            with client.connected(**connection) as connected:
                yield connected
        except client.InvalidRequest as error:
            raise UsageError(str(error)) from error
        except client.ClientError as error:
            raise CommandError(str(error)) from error


def _token(path: Path) -> str:
    try:
        token = read_regular(path, max_bytes=_MAX_TOKEN_BYTES).decode("ascii").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no ASCII text"
        raise UsageError(f"cannot read --token-file {path}: {reason}") from error
    if not token:
        raise UsageError(f"--token-file {path} is empty, expected a token")
    return token


def _run_options(function: _Function) -> _Function:
    @path_option(
        "--pipeline", "FILE", "The file that `kubeflow compile` wrote.", default="pipeline.yaml"
    )
    @option(
        "--experiment",
        "NAME",
        "Experiment under which the UI shows the runs.",
        callback=_name,
        default="tfx-mnist",
    )
    @option(
        "--service-account", "NAME", "Kubernetes service account of the run's pods.", default=""
    )
    @functools.wraps(function)
    def with_run(*, pipeline: Path, experiment: str, service_account: str, **values: Any) -> Reply:
        from pipeline.runners.kubeflow.parameters import CompiledFile, Run

        given = {name: values.pop(name) for name in _VALUES}
        compiled = CompiledFile.read(pipeline)
        parameters = compiled.values({key: text for key, text in given.items() if text is not None})
        run = Run(compiled, parameters, experiment, service_account)
        return function(run=run, **values)

    for name in reversed(_VALUES):
        text = f"The run's {name}, in place of the compiled one."
        with_run = option(f"--{name}", "VALUE", text)(with_run)
    return with_run


@click.command(cls=Command, exit_codes=_EXIT_CODES)
@_run_options
@_connection
def submit(run: Run, client: _Client) -> Reply:
    """Starts a run in the cluster.

    Uploads the compiled pipeline, unless the same file was uploaded before, and starts a run of it.
    """
    with client as api:
        run_id = api.submit(run)
    return Reply({"run": run_id}, [f"submitted: run {run_id}"])


@click.command(cls=Command, exit_codes=_EXIT_CODES)
@option(
    "--cron",
    "FIELDS",
    'When, in UTC: six fields, seconds first, such as "0 0 2 * * *", or @daily.',
    callback=_cron,
    required=True,
)
@option(
    "--name",
    "N",
    "Name of the schedule; an earlier one of this name is replaced.",
    callback=_name,
    default="tfx-mnist",
)
@click.option("--catch-up", is_flag=True, help="Make up for runs that were missed.")
@_run_options
@_connection
def schedule(run: Run, client: _Client, cron: str, name: str, catch_up: bool) -> Reply:
    """Schedules runs, or replaces the schedule of that name.

    Uploads the compiled pipeline, unless the same file was uploaded before, and schedules runs of
    it, one at a time.
    """
    with client as api:
        made, replaced = api.schedule(run, name=name, cron=cron, catch_up=catch_up)
    line = f"scheduled: {name} at {cron} (UTC)"
    line += f", in place of {replaced}" if replaced else ""
    fields = {"schedule": made, "name": name, "replaced": replaced}
    return Reply(fields, [line])


@click.command(cls=Command, shows=lambda _: True, exit_codes=_EXIT_CODES)
@_connection
def schedules(client: _Client) -> Reply:
    """Lists the pipeline's schedules."""
    with client as api:
        found = [
            {
                "id": one.recurring_run_id,
                "name": one.display_name,
                "cron": _cron_of(one),
                "enabled": one.status == "ENABLED",
                "catch_up": not one.no_catchup,
            }
            for one in api.schedules()
        ]
    lines = [
        f"{one['name']}: {one['cron']} (UTC){'' if one['enabled'] else ', disabled'}"
        f"{', catches up' if one['catch_up'] else ''}"
        for one in found
    ]
    return Reply({"schedules": found}, lines or ["no schedule"])


def _cron_of(schedule: V2beta1RecurringRun) -> str:
    """Empty for a schedule of another kind, which somebody made in the UI."""
    cron = schedule.trigger and schedule.trigger.cron_schedule
    return (cron and cron.cron) or ""


@click.command(cls=Command, exit_codes=_EXIT_CODES)
@click.argument("name", metavar="NAME")
@_connection
def unschedule(name: str, client: _Client) -> Reply:
    """Removes a schedule; running runs go on.

    `kubeflow schedules` shows the NAME.
    """
    with client as api:
        removed = api.unschedule(name)
    return Reply({"removed": removed}, [f"unscheduled: {name}; runs go on"])


@click.command(
    cls=Command,
    shows=lambda _: True,
    exit_codes={
        ExitCode.DONE: "the run succeeded, or has not ended yet",
        ExitCode.FAILED: "it failed, or the API does not answer",
        ExitCode.USAGE: "usage refused, or there is no such run",
        ExitCode.REFUSED: "a gate refused it, as far as the API says so",
    },
)
@click.argument("run", metavar="RUN", callback=_name)
@_connection
def status(run: str, client: _Client) -> Reply:
    """Shows the state of a run.

    RUN is the id that `kubeflow submit` prints.
    """
    with client as api:
        found = api.status(run)
    fields = {**dataclasses.asdict(found), "refused": found.refused}
    exit_code = ExitCode.FAILED if found.failed else ExitCode.DONE
    if found.refused:
        exit_code = ExitCode.REFUSED
    return Reply(fields, _status_lines(found), exit_code)


def _status_lines(run: RunStatus) -> Iterator[str]:
    yield f"{run.name}: {run.state.lower()}"
    for task, state in run.tasks.items():
        yield f"  {task}: {state.lower()}"
    for task, message in run.failures.items():
        yield f"{task}: {message or 'the API does not say why; its message is in the UI'}"
    if any(not message for message in run.failures.values()):
        yield (
            f"or: kubectl get workflow -l pipeline/runid={run.run_id} -o "
            "jsonpath='{.items[*].status.nodes.*.message}'"
        )
