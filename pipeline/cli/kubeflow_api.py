"""`tfx-mnist kubeflow submit`, `schedule`, `schedules`, `unschedule` and `status`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import logs
from pipeline.cli.command import Reply, UsageError, command, option, path_option, verbose
from pipeline.cli.option_types import matching
from pipeline.result import ExitCode
from pipeline.runners.kubeflow.names import PARAMETERS, require_kfp
from trainer.host.files import read_regular
from trainer.host.text import quoted

if TYPE_CHECKING:  # kfp stands behind it
    from kfp_server_api import V2beta1RecurringRun

    from pipeline.runners.kubeflow.client import PipelineClient, RunStatus
    from pipeline.runners.kubeflow.parameters import Run

_EXIT_CODES = {
    "done": "done",
    "failed": "the API does not answer, or refuses",
    "usage": "usage refused, or there is nothing of that name",
}
_MAX_TOKEN_BYTES = 1 << 16  # it goes into a header of HTTP, where servers take 8 to 64 KiB

_Function = Callable[..., Reply]


_NAME = matching(r"(?s)\s*\S.*", "a name")
_URL = matching(r"https?://.*", "http:// or https://")
# The backend reads the fields by robfig/cron 1.2 and checks the values in them.
_CRON = matching(
    r"@\w+( \S+)?|\s*(\S+\s+){5}\S+\s*",
    "six fields, seconds first, such as '0 0 2 * * *', or one such as @daily",
)


def _connection(function: _Function) -> _Function:
    """Adds the options by which the API is reached; the function takes its client as `api`."""

    @option(
        "--host",
        "URL",
        "The API, such as http://localhost:8888 of a port-forward.",
        type=_URL,
        required=True,
    )
    @option(
        "--namespace", "NAME", "The user's namespace, if the cluster has several users.", default=""
    )
    @path_option("--token-file", "FILE", "File with a bearer token, which is read at each start.")
    @path_option("--ca-cert", "FILE", "Certificates of authorities to trust for the API.")
    @path_option("--cert", "FILE", "Client certificate, PEM; needs --key.")
    @path_option("--key", "FILE", "Private key of --cert.")
    @verbose
    @functools.wraps(function)
    def with_client(
        *,
        host: str,
        namespace: str,
        token_file: Path | None,
        ca_cert: Path | None,
        cert: Path | None,
        key: Path | None,
        verbose: bool,
        **values: Any,
    ) -> Reply:
        if (cert is None) != (key is None):
            given, missing = ("--key", "--cert") if key else ("--cert", "--key")
            raise UsageError(f"{given} is given alone, expected {missing} with it")
        files = {"ca_cert": ca_cert, "cert": cert, "key": key}
        for name, path in files.items():
            if path is not None and not path.is_file():
                flag = f"--{name.replace('_', '-')}"
                raise UsageError(f"{flag} is {quoted(str(path))}, expected a file")
        token = _token(token_file) if token_file else ""
        require_kfp()
        with logs.quiet(show=verbose):
            from pipeline.runners.kubeflow import client

            with client.connected(host, namespace=namespace, token=token, **files) as api:
                return function(api=api, **values)

    return with_client


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
        type=_NAME,
        default="tfx-mnist",
    )
    @option(
        "--service-account", "NAME", "Kubernetes service account of the run's pods.", default=""
    )
    @functools.wraps(function)
    def with_run(*, pipeline: Path, experiment: str, service_account: str, **values: Any) -> Reply:
        from pipeline.runners.kubeflow.parameters import CompiledFile, Run

        given = {name: text for name in PARAMETERS if (text := values.pop(name)) is not None}
        compiled = CompiledFile.read(pipeline)
        run = Run(compiled, compiled.values(given), experiment, service_account)
        return function(run=run, **values)

    for name in reversed(list(PARAMETERS)):
        text = f"The run's {name}, in place of the compiled one."
        with_run = option(f"--{name}", "VALUE", text)(with_run)
    return with_run


@command(**_EXIT_CODES)
@_run_options
@_connection
def submit(run: Run, api: PipelineClient) -> Reply:
    """Starts a run in the cluster.

    Uploads the compiled pipeline, unless the same file was uploaded before, and starts a run of it.
    """
    run_id = api.submit(run)
    return Reply({"run": run_id}, [f"submitted: run {run_id}"])


@command(**_EXIT_CODES)
@option(
    "--cron",
    "FIELDS",
    'When, in UTC: six fields, seconds first, such as "0 0 2 * * *", or @daily.',
    type=_CRON,
    required=True,
)
@option(
    "--name",
    "N",
    "Name of the schedule; an earlier one of this name is replaced.",
    type=_NAME,
    default="tfx-mnist",
)
@click.option("--catch-up", is_flag=True, help="Make up for runs that were missed.")
@_run_options
@_connection
def schedule(run: Run, api: PipelineClient, cron: str, name: str, catch_up: bool) -> Reply:
    """Schedules runs, or replaces the schedule of that name.

    Uploads the compiled pipeline, unless the same file was uploaded before, and schedules runs of
    it, one at a time.
    """
    made, replaced = api.schedule(run, name=name, cron=cron, catch_up=catch_up)
    line = f"scheduled: {name} at {cron} (UTC)"
    line += f", in place of {replaced}" if replaced else ""
    fields = {"schedule": made, "name": name, "replaced": replaced}
    return Reply(fields, [line])


@command(**_EXIT_CODES, shows=lambda _: True)
@_connection
def schedules(api: PipelineClient) -> Reply:
    """Lists the pipeline's schedules."""
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


@command(**_EXIT_CODES)
@click.argument("name", metavar="NAME")
@_connection
def unschedule(name: str, api: PipelineClient) -> Reply:
    """Removes a schedule; running runs go on.

    `kubeflow schedules` shows the NAME.
    """
    removed = api.unschedule(name)
    return Reply({"removed": removed}, [f"unscheduled: {name}; runs go on"])


@command(
    done="the run succeeded, or has not ended yet",
    failed="it failed, or the API does not answer",
    usage="usage refused, or there is no such run",
    refused="a gate refused it, if the API says so",
    shows=lambda _: True,
)
@click.argument("run", metavar="RUN", type=_NAME)
@_connection
def status(run: str, api: PipelineClient) -> Reply:
    """Shows the state of a run.

    RUN is the id that `kubeflow submit` prints.
    """
    found = api.status(run)
    fields = {**dataclasses.asdict(found), "refused": found.refused}
    exit_code = ExitCode.FAILED if found.failed else ExitCode.DONE
    if found.refused:
        exit_code = ExitCode.REFUSED
    return Reply(fields, _status_lines(found, api.get_user_namespace() or "kubeflow"), exit_code)


def _status_lines(run: RunStatus, namespace: str) -> Iterator[str]:
    yield f"{run.name}: {run.state.lower()}"
    for task, state in run.tasks.items():
        yield f"  {task}: {state.lower()}"
    # The backend itself may fail before any task of ours, as without its object store.
    failures = run.failures or ({"the run": ""} if run.state == "FAILED" else {})
    for task, message in failures.items():
        yield f"{task}: {message or 'the API does not say why; its message is in the UI'}"
    if any(not message for message in failures.values()):
        yield (
            f"or: kubectl -n {namespace} get workflow -l pipeline/runid={run.run_id} -o "
            """jsonpath='{range .items[*].status.nodes.*}{.message}{"\\n"}{end}' | sort -u"""
        )
