"""`tfx-mnist kubeflow submit`, `schedule`, `schedules`, `unschedule` and `status`."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli import logs, output
from pipeline.cli.command import (
    USAGE_ERROR,
    Command,
    CommandError,
    Parser,
    UsageError,
    local_path,
)
from pipeline.runners.kubeflow import cron
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
    0: "done",
    1: "the API does not answer, or says no",
    USAGE_ERROR: "usage refused, or there is nothing of that name",
}
_FAILED, _REFUSED = 1, 3
_MAX_TOKEN_BYTES = 1 << 16  # it goes into a header of HTTP, where servers take 8 to 64 KiB
# As `pipeline.runners.kubeflow.parameters`, which imports the configuration.
_VALUES = ("dataset", "preset", "seed", "epochs", "floor")


def _add_connection(parser: Parser) -> None:
    def add(flag: str, metavar: str, text: str, **settings: Any) -> None:
        parser.add_argument(flag, metavar=metavar, help=text, **settings)

    def add_file(flag: str, text: str) -> None:
        add(flag, "FILE", text, type=local_path)

    add("--host", "URL", "the API, such as http://localhost:8888 of a port-forward", required=True)
    add("--namespace", "NAME", "the user's, where the cluster has several users", default="")
    add_file("--token-file", "holds a bearer token; it is read at each start")
    add_file("--ca-cert", "authorities to trust, where the API's certificate is no public one")
    add_file("--cert", "our own certificate, PEM; needs --key")
    add_file("--key", "its private key")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="show the libraries' logs on stderr"
    )


def _add_run(parser: Parser) -> None:
    parser.add_argument(
        "--pipeline",
        metavar="FILE",
        type=local_path,
        default="pipeline.yaml",
        help="what `kubeflow compile` wrote (default: %(default)s)",
    )
    for name in _VALUES:
        parser.add_argument(
            f"--{name}", metavar="VALUE", help=f"the run's {name}, in place of the compiled one"
        )
    parser.add_argument(
        "--experiment",
        metavar="NAME",
        type=_name,
        default="tfx-mnist",
        help="under which the UI shows the runs (default: %(default)s)",
    )
    parser.add_argument(
        "--service-account", metavar="NAME", default="", help="of Kubernetes, for the run's pods"
    )
    _add_connection(parser)


def _add_schedule(parser: Parser) -> None:
    parser.add_argument(
        "--cron",
        metavar="FIELDS",
        required=True,
        help='when, in UTC: six fields, seconds first, such as "0 0 2 * * *", or @daily',
    )
    parser.add_argument(
        "--name",
        metavar="N",
        type=_name,
        default="tfx-mnist",
        help="the schedule's; what had it before is replaced (default: %(default)s)",
    )
    parser.add_argument("--catch-up", action="store_true", help="make up for runs that were missed")
    _add_run(parser)


def _add_unschedule(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="as `kubeflow schedules` shows it")
    _add_connection(parser)


def _add_status(parser: Parser) -> None:
    parser.add_argument(
        "run", metavar="RUN", type=_name, help="the id that `kubeflow submit` prints"
    )
    _add_connection(parser)


def _name(text: str) -> str:
    """The type of an option that takes a name."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"is {quoted(text)}, expected a name")
    return text


def _submit(options: argparse.Namespace) -> int:
    pipeline, values = _pipeline(options)

    def act(client: Client) -> str:
        from pipeline.runners.kubeflow.client import submit

        return submit(client, pipeline, values, **_place(options))

    run = _by_api(options, act)
    _say(options, {"run": run}, [f"submitted: run {run}"])
    return 0


def _schedule(options: argparse.Namespace) -> int:
    _require_cron(options.cron)
    pipeline, values = _pipeline(options)

    def act(client: Client) -> tuple[str, int]:
        from pipeline.runners.kubeflow.client import Schedule, schedule

        when = Schedule(options.name, options.cron, catch_up=options.catch_up)
        return schedule(client, pipeline, values, when, **_place(options))

    made, replaced = _by_api(options, act)
    line = f"scheduled: {options.name} at {options.cron} (UTC)"
    line += f", in place of {replaced}" if replaced else ""
    _say(options, {"schedule": made, "name": options.name, "replaced": replaced}, [line])
    return 0


def _schedules(options: argparse.Namespace) -> int:
    def act(client: Client) -> list[Any]:
        from pipeline.runners.kubeflow.client import schedules

        return schedules(client)

    found = _by_api(options, act)
    lines = [
        f"{one.name}: {one.cron} (UTC){'' if one.enabled else ', disabled'}"
        f"{', catches up' if one.catch_up else ''}"
        for one in found
    ]
    _say(options, {"schedules": list(map(dataclasses.asdict, found))}, lines or ["no schedule"])
    return 0


def _unschedule(options: argparse.Namespace) -> int:
    def act(client: Client) -> int:
        from pipeline.runners.kubeflow.client import unschedule

        return unschedule(client, options.name)

    removed = _by_api(options, act)
    _say(options, {"removed": removed}, [f"unscheduled: {options.name}; runs go on"])
    return 0


def _status(options: argparse.Namespace) -> int:
    def act(client: Client) -> RunStatus:
        from pipeline.runners.kubeflow.client import status

        return status(client, options.run)

    run = _by_api(options, act)
    fields = {**dataclasses.asdict(run), "refused": run.refused}
    _say(options, fields, _status_lines(run))
    if run.refused:
        return _REFUSED
    return _FAILED if run.state in FAILED_STATES else 0


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


def _by_api(options: argparse.Namespace, act: Callable[[Client], Any]) -> Any:
    """What the action gives; kfp's own talk is kept off the terminal."""
    given = _connection(options)
    require_kfp()
    with logs.quiet(show=options.verbose):
        from pipeline.runners.kubeflow.client import ClientError, Connection, NotFound, connect

        try:
            return act(connect(Connection(**given)))
        except NotFound as error:
            raise UsageError(str(error)) from error
        except ClientError as error:
            raise CommandError(str(error)) from error


def _connection(options: argparse.Namespace) -> dict[str, str]:
    """The fields of `pipeline.runners.kubeflow.client.Connection`."""
    if not options.host.startswith(("http://", "https://")):
        raise UsageError(f"--host is {quoted(options.host)}, expected http:// or https://")
    if bool(options.cert) != bool(options.key):
        given, missing = ("--cert", "--key") if options.cert else ("--key", "--cert")
        raise UsageError(f"{given} is given alone, expected {missing} with it")
    for flag, name in (("ca-cert", options.ca_cert), ("cert", options.cert), ("key", options.key)):
        if name and not Path(name).is_file():
            raise UsageError(f"--{flag} is {quoted(name)}, expected a file")
    return {
        "host": options.host,
        "namespace": options.namespace,
        "token": _token(options.token_file) if options.token_file else "",
        "ca_file": options.ca_cert or "",
        "cert_file": options.cert or "",
        "key_file": options.key or "",
    }


def _token(path: str) -> str:
    try:
        token = read_regular(Path(path), max_bytes=_MAX_TOKEN_BYTES).decode("ascii").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no ASCII text"
        raise UsageError(f"cannot read --token-file {path}: {reason}") from error
    if not token:
        raise UsageError(f"--token-file {path} is empty, expected a token")
    return token


def _pipeline(options: argparse.Namespace) -> tuple[PipelineFile, dict[str, Value]]:
    """The pipeline, and a run's values of its parameters."""
    from pipeline.runners.kubeflow.parameters import typed
    from pipeline.runners.kubeflow.pipeline_file import PipelineFile

    pipeline = PipelineFile.read(Path(options.pipeline))
    given = {name: getattr(options, name) for name in _VALUES}
    return pipeline, pipeline.values(
        typed({name: text for name, text in given.items() if text is not None})
    )


def _place(options: argparse.Namespace) -> dict[str, str]:
    return {"experiment": options.experiment, "service_account": options.service_account}


def _require_cron(text: str) -> None:
    try:
        cron.require(text)
    except ValueError as error:
        raise UsageError(f"--cron is {quoted(text)}, expected {error}") from None


def _say(options: argparse.Namespace, fields: Mapping[str, Any], lines: Any) -> None:
    if options.json:
        output.say_json({**fields, "error": None})
    else:
        output.say(lines)


SUBMIT = Command(
    name="submit",
    help="start a run in the cluster",
    description="Uploads the compiled pipeline, once for each content, and starts a run of it.",
    add_options=_add_run,
    execute=_submit,
    exit_codes=_EXIT_CODES,
)
SCHEDULE = Command(
    name="schedule",
    help="make runs begin at times; the same name again replaces",
    description="Uploads the compiled pipeline, once for each content, and makes runs of it begin "
    "at times,\none at a time. What had the name before is replaced.",
    add_options=_add_schedule,
    execute=_schedule,
    exit_codes=_EXIT_CODES,
)
SCHEDULES = Command(
    name="schedules",
    help="list the pipeline's schedules",
    add_options=_add_connection,
    execute=_schedules,
    shows=lambda _: True,
    exit_codes=_EXIT_CODES,
)
UNSCHEDULE = Command(
    name="unschedule",
    help="remove a schedule; runs that began go on",
    add_options=_add_unschedule,
    execute=_unschedule,
    exit_codes=_EXIT_CODES,
)
STATUS = Command(
    name="status",
    help="show how a run goes",
    add_options=_add_status,
    execute=_status,
    shows=lambda _: True,
    exit_codes={
        0: "the run succeeded, or has not ended yet",
        _FAILED: "it failed, or the API does not answer",
        USAGE_ERROR: "usage refused, or there is no such run",
        _REFUSED: "a gate refused it, as far as the API says so",
    },
)
COMMANDS = (SUBMIT, SCHEDULE, SCHEDULES, UNSCHEDULE, STATUS)
