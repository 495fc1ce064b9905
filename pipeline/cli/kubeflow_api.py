"""`tfx-mnist kubeflow submit`, `schedule`, `schedules`, `unschedule` and `status`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import logs
from pipeline.cli.command import LOCAL_PATH, Command, CommandError, Reply, UsageError, verbose
from pipeline.result import ExitCode
from pipeline.runners.kubeflow import cron as crontab
from pipeline.runners.kubeflow.installed import require_kfp
from pipeline.runners.kubeflow.names import FAILED_STATES
from trainer.host.files import read_regular
from trainer.host.text import quoted

if TYPE_CHECKING:  # kfp stands behind it
    from kfp.client import Client

    from pipeline.runners.kubeflow.client import RunStatus
    from pipeline.runners.kubeflow.parameters import Value
    from pipeline.runners.kubeflow.pipeline_file import PipelineFile

_EXIT_CODES = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "the API does not answer, or refuses",
    ExitCode.USAGE: "usage refused, or there is nothing of that name",
}
_MAX_TOKEN_BYTES = 1 << 16  # it goes into a header of HTTP, where servers take 8 to 64 KiB
# As `pipeline.runners.kubeflow.parameters`, which imports the configuration.
_VALUES = ("dataset", "preset", "seed", "epochs", "floor")

_Function = Callable[..., Reply]


class _Name(click.ParamType):
    """A text that is not blank."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value.strip():
            self.fail(f"is {quoted(value)}, expected a name", param, ctx)
        return str(value)


@dataclasses.dataclass(frozen=True)
class _Api:
    """How the API is reached; see the help of the commands."""

    host: str
    namespace: str
    token_file: Path | None
    ca_cert: Path | None
    cert: Path | None
    key: Path | None
    verbose: bool


@dataclasses.dataclass(frozen=True)
class _Run:
    """What a run is to be: the pipeline, its parameters that were given, and its place."""

    pipeline: Path
    parameters: Mapping[str, str]
    experiment: str
    service_account: str


def _option(flag: str, metavar: str, text: str, **settings: Any) -> Callable[[Any], Any]:
    return click.option(flag, metavar=metavar, help=text, **settings)


def _connection(function: _Function) -> _Function:
    """Adds the options that an `_Api` holds; the function takes it as `api`."""

    @_option(
        "--host",
        "URL",
        "The API, such as http://localhost:8888 of a port-forward.",
        required=True,
    )
    @_option("--namespace", "NAME", "The user's, where the cluster has several.", default="")
    @_option(
        "--token-file",
        "FILE",
        "Holds a bearer token; it is read at each start.",
        type=LOCAL_PATH,
    )
    @_option(
        "--ca-cert",
        "FILE",
        "Authorities to trust, where the API's certificate is no public one.",
        type=LOCAL_PATH,
    )
    @_option("--cert", "FILE", "Our own certificate, PEM; needs --key.", type=LOCAL_PATH)
    @_option("--key", "FILE", "Its private key.", type=LOCAL_PATH)
    @verbose
    @functools.wraps(function)
    def with_api(**values: Any) -> Reply:
        fields = {field.name: values.pop(field.name) for field in dataclasses.fields(_Api)}
        return function(api=_Api(**fields), **values)

    return with_api


def _run_options(function: _Function) -> _Function:
    """Adds the options that a `_Run` holds; the function takes it as `wanted`."""

    @_option(
        "--pipeline",
        "FILE",
        "What `kubeflow compile` wrote.",
        type=LOCAL_PATH,
        default="pipeline.yaml",
        show_default=True,
    )
    @_option(
        "--experiment",
        "NAME",
        "Under which the UI shows the runs.",
        type=_Name(),
        default="tfx-mnist",
        show_default=True,
    )
    @_option("--service-account", "NAME", "Of Kubernetes, for the run's pods.", default="")
    @functools.wraps(function)
    def with_run(*, pipeline: Path, experiment: str, service_account: str, **values: Any) -> Reply:
        given = {name: values.pop(name) for name in _VALUES}
        parameters = {name: text for name, text in given.items() if text is not None}
        wanted = _Run(pipeline, parameters, experiment, service_account)
        return function(wanted=wanted, **values)

    for name in reversed(_VALUES):
        text = f"The run's {name}, in place of the compiled one."
        with_run = _option(f"--{name}", "VALUE", text)(with_run)
    return with_run


@click.command(cls=Command, exit_codes=_EXIT_CODES)
@_run_options
@_connection
def submit(wanted: _Run, api: _Api) -> Reply:
    """Starts a run in the cluster.

    Uploads the compiled pipeline, once for each content, and starts a run of it.
    """
    pipeline, values = _pipeline(wanted)

    def act(client: Client) -> str:
        from pipeline.runners.kubeflow.client import submit

        return submit(client, pipeline, values, **_place(wanted))

    run = _by_api(api, act)
    return Reply({"run": run}, [f"submitted: run {run}"])


@click.command(
    cls=Command,
    exit_codes=_EXIT_CODES,
)
@_option(
    "--cron",
    "FIELDS",
    'When, in UTC: six fields, seconds first, such as "0 0 2 * * *", or @daily.',
    required=True,
)
@_option(
    "--name",
    "N",
    "The schedule's; what had it before is replaced.",
    type=_Name(),
    default="tfx-mnist",
    show_default=True,
)
@click.option("--catch-up", is_flag=True, help="Make up for runs that were missed.")
@_run_options
@_connection
def schedule(wanted: _Run, api: _Api, cron: str, name: str, catch_up: bool) -> Reply:
    """Makes runs begin at times; the same name again replaces.

    Uploads the compiled pipeline, once for each content, and makes runs of it begin at times, one
    at a time. What had the name before is replaced.
    """
    _require_cron(cron)
    pipeline, values = _pipeline(wanted)

    def act(client: Client) -> tuple[str, int]:
        from pipeline.runners.kubeflow.client import Schedule, schedule

        when = Schedule(name, cron, catch_up=catch_up)
        return schedule(client, pipeline, values, when, **_place(wanted))

    made, replaced = _by_api(api, act)
    line = f"scheduled: {name} at {cron} (UTC)"
    line += f", in place of {replaced}" if replaced else ""
    fields = {"schedule": made, "name": name, "replaced": replaced}
    return Reply(fields, [line])


@click.command(
    cls=Command,
    shows=lambda _: True,
    exit_codes=_EXIT_CODES,
)
@_connection
def schedules(api: _Api) -> Reply:
    """Lists the pipeline's schedules."""

    def act(client: Client) -> list[Any]:
        from pipeline.runners.kubeflow.client import schedules

        return schedules(client)

    found = _by_api(api, act)
    lines = [
        f"{one.name}: {one.cron} (UTC){'' if one.enabled else ', disabled'}"
        f"{', catches up' if one.catch_up else ''}"
        for one in found
    ]
    fields = {"schedules": list(map(dataclasses.asdict, found))}
    return Reply(fields, lines or ["no schedule"])


@click.command(cls=Command, exit_codes=_EXIT_CODES)
@click.argument("name", metavar="NAME")
@_connection
def unschedule(name: str, api: _Api) -> Reply:
    """Removes a schedule; runs that began go on.

    NAME is as `kubeflow schedules` shows it.
    """

    def act(client: Client) -> int:
        from pipeline.runners.kubeflow.client import unschedule

        return unschedule(client, name)

    removed = _by_api(api, act)
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
@click.argument("run", metavar="RUN", type=_Name())
@_connection
def status(run: str, api: _Api) -> Reply:
    """Shows how a run goes.

    RUN is the id that `kubeflow submit` prints.
    """

    def act(client: Client) -> RunStatus:
        from pipeline.runners.kubeflow.client import status

        return status(client, run)

    found = _by_api(api, act)
    fields = {**dataclasses.asdict(found), "refused": found.refused}
    exit_code = ExitCode.FAILED if found.state in FAILED_STATES else ExitCode.DONE
    if found.refused:
        exit_code = ExitCode.REFUSED
    return Reply(fields, _status_lines(found), exit_code)


def _status_lines(run: RunStatus) -> Iterator[str]:
    yield f"{run.name}: {run.state.lower()}"
    for task, state in run.tasks.items():
        yield f"  {task}: {state.lower()}"
    for task, message in run.failures.items():
        yield f"{task}: {message or 'the API does not say why; its message stands in the UI'}"
    if any(not message for message in run.failures.values()):
        yield (
            f"or: kubectl get workflow -l pipeline/runid={run.run_id} -o "
            "jsonpath='{.items[*].status.nodes.*.message}'"
        )


def _by_api(api: _Api, act: Callable[[Client], Any]) -> Any:
    """What the action gives; kfp's own talk is kept off the terminal."""
    given = _connection_fields(api)
    require_kfp()
    with logs.quiet(show=api.verbose):
        from pipeline.runners.kubeflow.client import ClientError, Connection, NotFound, connect

        try:
            return act(connect(Connection(**given)))
        except NotFound as error:
            raise UsageError(str(error)) from error
        except ClientError as error:
            raise CommandError(str(error)) from error


def _connection_fields(api: _Api) -> dict[str, str]:
    """The fields of `pipeline.runners.kubeflow.client.Connection`."""
    if not api.host.startswith(("http://", "https://")):
        raise UsageError(f"--host is {quoted(api.host)}, expected http:// or https://")
    if (api.cert is None) != (api.key is None):
        given, missing = ("--cert", "--key") if api.cert else ("--key", "--cert")
        raise UsageError(f"{given} is given alone, expected {missing} with it")
    for flag, path in (("ca-cert", api.ca_cert), ("cert", api.cert), ("key", api.key)):
        if path is not None and not path.is_file():
            raise UsageError(f"--{flag} is {quoted(str(path))}, expected a file")
    return {
        "host": api.host,
        "namespace": api.namespace,
        "token": _token(api.token_file) if api.token_file else "",
        "ca_file": str(api.ca_cert or ""),
        "cert_file": str(api.cert or ""),
        "key_file": str(api.key or ""),
    }


def _token(path: Path) -> str:
    try:
        token = read_regular(path, max_bytes=_MAX_TOKEN_BYTES).decode("ascii").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no ASCII text"
        raise UsageError(f"cannot read --token-file {path}: {reason}") from error
    if not token:
        raise UsageError(f"--token-file {path} is empty, expected a token")
    return token


def _pipeline(wanted: _Run) -> tuple[PipelineFile, dict[str, Value]]:
    """The pipeline, and a run's values of its parameters."""
    from pipeline.runners.kubeflow.parameters import typed
    from pipeline.runners.kubeflow.pipeline_file import PipelineFile

    pipeline = PipelineFile.read(wanted.pipeline)
    return pipeline, pipeline.values(typed(wanted.parameters))


def _place(wanted: _Run) -> dict[str, str]:
    return {"experiment": wanted.experiment, "service_account": wanted.service_account}


def _require_cron(text: str) -> None:
    try:
        crontab.require(text)
    except ValueError as error:
        raise UsageError(f"--cron is {quoted(text)}, expected {error}") from None
