"""Talks to the API of Kubeflow Pipelines, by kfp's client.

Synopsis::

    client = connect(Connection("http://localhost:8888"))
    pipeline = PipelineFile.read(Path("pipeline.yaml"))
    values = pipeline.values({"dataset": "mnist"})
    run = submit(client, pipeline, values, experiment="tfx-mnist")
    schedule(client, pipeline, values, Schedule("nightly", "0 0 2 * * *"), experiment="tfx-mnist")
    status(client, run).state                 # "RUNNING"

Needs kfp. What the API cannot do or be asked is a `ClientError`, in one line.
"""

from __future__ import annotations

import functools
import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import kfp_server_api
import urllib3
from kfp import client as kfp_client

from pipeline.runners.kubeflow.names import FAILED_STATES, PIPELINE_NAME
from pipeline.runners.kubeflow.parameters import Value
from pipeline.runners.kubeflow.pipeline_file import PipelineFile
from pipeline.runners.kubeflow.report import FAILURES, REFUSED
from trainer.host.text import quoted

_PAGE = 100

ANSWER_S = 60  # the longest wait for one answer of the API

# Argo puts "main: Error (exit code 1): " in front of a container's message (argo-workflows,
# workflow/controller/operator.go, inferFailedReason).
_REFUSED = re.compile(rf"(\w+: \w+ \(exit code \d+\): )?{FAILURES[REFUSED]}\b")


class ClientError(Exception):
    """The API did not answer, or said no; one line."""


class NotFound(ClientError):
    """What was named is not there."""


@dataclass(frozen=True)
class Connection:
    """Where the API is, and how it knows us.

    Attributes:
      host: URL of the API, such as that of a port-forward.
      namespace: of the user, where the cluster has several; "" elsewhere.
      token: bearer token; "" for none.
      ca_file: certificates of authorities to trust; "" for the system's.
      cert_file: our own certificate, with its key in `key_file`; "" for none.
      key_file: see `cert_file`.
    """

    host: str
    namespace: str = ""
    token: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


@dataclass(frozen=True)
class Schedule:
    """When runs begin.

    Attributes:
      name: unique among the pipeline's schedules.
      cron: in UTC, as `cron.require` lets it pass.
      catch_up: whether runs that were missed are made up for.
    """

    name: str
    cron: str
    catch_up: bool = False


@dataclass(frozen=True)
class Scheduled:
    """A schedule that the cluster has; `enabled` says whether it starts runs."""

    id: str
    name: str
    cron: str
    enabled: bool
    catch_up: bool


@dataclass(frozen=True)
class RunStatus:
    """How a run goes.

    Attributes:
      state: such as "RUNNING", "SUCCEEDED" or "FAILED".
      tasks: the state of each task that is one of ours.
      failures: of each that failed, what the API says of it; most versions say nothing.
    """

    run_id: str
    name: str
    state: str
    tasks: Mapping[str, str]
    failures: Mapping[str, str]

    @property
    def refused(self) -> bool:
        """Whether a gate said no, as far as the API tells."""
        return any(map(_REFUSED.match, self.failures.values()))


class _Client(kfp_client.Client):
    """kfp's client, with a certificate of our own, and without its five attempts to connect."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        super().__init__(
            host=connection.host,
            # kfp takes its default, "kubeflow", for none.
            namespace=connection.namespace or "kubeflow",
            existing_token=connection.token or None,
            ssl_ca_cert=connection.ca_file or None,
        )
        rest = self._run_api.api_client.rest_client  # that of all APIs
        rest.request = _in_time(rest.request)

    def _load_config(self, *args: Any, **kwargs: Any) -> kfp_server_api.Configuration:
        config = super()._load_config(*args, **kwargs)
        config.cert_file = self._connection.cert_file or None
        config.key_file = self._connection.key_file or None
        config.retries = 0
        return config

    def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:
        # The name in kfp-server-api 2.16 and newer, and the one before.
        names = ("healthz_service_get_healthz", "get_healthz")
        ask = next(filter(None, (getattr(self._healthz_api, name, None) for name in names)))
        return ask(_request_timeout=ANSWER_S)

    def _load_context_setting_or_default(self) -> None:
        """None of the settings that another program left in the home directory."""
        self._context_setting = {"namespace": ""}


def _in_time(request: Callable[..., Any]) -> Callable[..., Any]:
    """The same with a bound: kfp sets none, and would wait for good."""

    @functools.wraps(request)
    def bounded(*args: Any, **given: Any) -> Any:
        return request(*args, **{**given, "_request_timeout": ANSWER_S})

    return bounded


def connect(connection: Connection) -> kfp_client.Client:
    """A client; where no namespace is given, it has asked whether the API is there.

    Raises:
      ClientError: the API does not answer, or refuses the token or the certificate.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is no client for the API before 2.0
        return _asked(lambda: _Client(connection), connection.host)


def submit(
    client: kfp_client.Client,
    pipeline: PipelineFile,
    values: Mapping[str, Value],
    *,
    experiment: str,
    service_account: str = "",
) -> str:
    """Starts a run; returns its id.

    Args:
      pipeline: it is uploaded, once for each content.
      values: of every runtime parameter, see `PipelineFile.values`.

    Raises:
      ClientError: the API said no.
    """
    uploaded = _upload(client, pipeline)
    folder = _ask(client, client.create_experiment, experiment, namespace=_namespace(client))
    run = _ask(
        client,
        client.run_pipeline,
        folder.experiment_id,
        f"{pipeline.name} {pipeline.version}",
        params=dict(values),
        pipeline_id=uploaded.pipeline_id,
        version_id=uploaded.version_id,
        pipeline_root=pipeline.root,
        service_account=service_account or None,
    )
    return str(run.run_id)


def schedule(
    client: kfp_client.Client,
    pipeline: PipelineFile,
    values: Mapping[str, Value],
    when: Schedule,
    *,
    experiment: str,
    service_account: str = "",
) -> tuple[str, int]:
    """Makes runs begin at times; what had the name before is replaced.

    One run at a time: a second one would be compared with what the first is about to replace.

    Args:
      pipeline, values: as of `submit`.

    Returns:
      The id, and how many were replaced.

    Raises:
      ClientError: the API said no.
    """
    uploaded = _upload(client, pipeline)
    folder = _ask(client, client.create_experiment, experiment, namespace=_namespace(client))
    every = _schedules_of(client, uploaded.pipeline_id)
    older = [one.id for one in every if one.name == when.name]
    made = _ask(
        client,
        client.create_recurring_run,
        folder.experiment_id,
        when.name,
        cron_expression=when.cron,
        no_catchup=not when.catch_up,
        max_concurrency=1,
        params=dict(values),
        pipeline_id=uploaded.pipeline_id,
        version_id=uploaded.version_id,
        pipeline_root=pipeline.root,
        service_account=service_account or None,
    )
    # After the new one is there, so that a failure leaves two and not none.
    for one in older:
        _ask(client, client.delete_recurring_run, one)
    return str(made.recurring_run_id), len(older)


def schedules(client: kfp_client.Client) -> list[Scheduled]:
    """Every schedule of our pipeline in the namespace, by name.

    Raises:
      ClientError: the API said no.
    """
    pipeline_id = _pipeline_id(client, PIPELINE_NAME)
    return [] if pipeline_id is None else _schedules_of(client, pipeline_id)


def unschedule(client: kfp_client.Client, name: str) -> int:
    """Removes our pipeline's schedules of that name; returns how many there were. Runs go on.

    Raises:
      NotFound: there is none.
      ClientError: the API said no.
    """
    every = schedules(client)
    named = [one for one in every if one.name == name]
    if not named:
        known = ", ".join(sorted({one.name for one in every})) or "none"
        raise NotFound(f"there is no schedule {quoted(name)}, expected one of: {known}")
    for one in named:
        _ask(client, client.delete_recurring_run, one.id)
    return len(named)


def status(client: kfp_client.Client, run_id: str) -> RunStatus:
    """How a run goes.

    Raises:
      NotFound: there is no such run.
      ClientError: the API said no.
    """
    run = _ask(client, client.get_run, run_id)
    details = (run.run_details and run.run_details.task_details) or []
    # Beside ours the API lists drivers and the DAG itself.
    ours = [one for one in details if one.display_name and one.display_name[0].isupper()]
    return RunStatus(
        run_id=run.run_id,
        name=run.display_name,
        state=run.state or "PENDING",
        tasks={one.display_name: one.state or "PENDING" for one in ours},
        failures={
            one.display_name: (one.error and one.error.message) or ""
            for one in ours
            if one.state in FAILED_STATES
        },
    )


@dataclass(frozen=True)
class _Uploaded:
    pipeline_id: str
    version_id: str


def _upload(client: kfp_client.Client, pipeline: PipelineFile) -> _Uploaded:
    """The pipeline as a version that its content names: the same file is uploaded once."""
    path, name = str(pipeline.path), pipeline.name
    pipeline_id = _pipeline_id(client, name)
    if pipeline_id is None:
        uploaded = _ask(client, client.upload_pipeline, path, name, namespace=_namespace(client))
        pipeline_id = uploaded.pipeline_id
    for version in _pages(
        client, client.list_pipeline_versions, "pipeline_versions", pipeline_id=pipeline_id
    ):
        if version.display_name == pipeline.version:
            return _Uploaded(pipeline_id, version.pipeline_version_id)
    version = _ask(
        client, client.upload_pipeline_version, path, pipeline.version, pipeline_id=pipeline_id
    )
    return _Uploaded(pipeline_id, version.pipeline_version_id)


def _pipeline_id(client: kfp_client.Client, name: str) -> str | None:
    """Of the pipeline of that name; kfp's `get_pipeline_id` sends no namespace (2.5 to 2.16)."""
    named = {"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]}
    found = _pages(
        client,
        client.list_pipelines,
        "pipelines",
        namespace=_namespace(client),
        filter=json.dumps(named),
    )
    return next((str(one.pipeline_id) for one in found), None)


def _schedules_of(client: kfp_client.Client, pipeline_id: str) -> list[Scheduled]:
    """By name."""
    found = _pages(
        client, client.list_recurring_runs, "recurring_runs", namespace=_namespace(client)
    )
    ours = (_scheduled(one) for one in found if _is_of(one, pipeline_id))
    return sorted(ours, key=lambda one: (one.name, one.id))


def _is_of(run: kfp_server_api.V2beta1RecurringRun, pipeline_id: str) -> bool:
    reference = run.pipeline_version_reference  # None where a run brings its own pipeline
    return reference is not None and reference.pipeline_id == pipeline_id


def _scheduled(run: kfp_server_api.V2beta1RecurringRun) -> Scheduled:
    cron = run.trigger and run.trigger.cron_schedule
    return Scheduled(
        id=run.recurring_run_id,
        name=run.display_name,
        cron=(cron and cron.cron) or "",
        enabled=run.status == "ENABLED",
        catch_up=not run.no_catchup,
    )


def _namespace(client: kfp_client.Client) -> str | None:
    return client.get_user_namespace() or None


def _pages(
    client: kfp_client.Client, list_: Callable[..., Any], field: str, **given: Any
) -> Iterator[Any]:
    """Everything that a listing method gives, page by page."""
    token = ""
    while True:
        answer = _ask(client, list_, page_token=token, page_size=_PAGE, **given)
        yield from getattr(answer, field) or ()
        token = answer.next_page_token
        if not token:
            return


def _ask(client: kfp_client.Client, method: Callable[..., Any], *args: Any, **given: Any) -> Any:
    return _asked(lambda: method(*args, **given), client._existing_config.host)


def _asked(call: Callable[[], Any], host: str) -> Any:
    """What the call gives; what can go wrong in the API or on the way becomes one line."""
    try:
        return call()
    except kfp_server_api.ApiException as error:
        if not error.status:
            raise ClientError(_unreachable(host, error.reason)) from error
        kind = NotFound if error.status == 404 else ClientError
        raise kind(f"{host} answers {error.status} {error.reason}: {_said(error)}") from error
    except (OSError, urllib3.exceptions.HTTPError) as error:
        raise ClientError(_unreachable(host, error)) from error
    except ValueError as error:  # kfp's own, such as of two pipelines with one name
        raise ClientError(" ".join(str(error).split())) from error


def _unreachable(host: str, error: object) -> str:
    # urllib3 wraps the reason, and puts the connection in front of it.
    reason = re.sub(r"^(<.*>|\w+\(.*?\)): ", "", " ".join(str(_reason(error)).split()))
    return (
        f"{host} does not answer ({reason}), expected the API of Kubeflow Pipelines: is the "
        "port-forward there?"
    )


def _reason(error: object) -> object:
    return getattr(error, "reason", error)


def _said(error: kfp_server_api.ApiException) -> str:
    """What the server says of it (google.rpc.Status), or what to look at."""
    remedies = {401: "give another --token-file", 403: "ask for the rights, or another --namespace"}
    try:
        said = json.loads(error.body)["message"]
    except (ValueError, KeyError, TypeError):
        said = ""
    return " ".join(said.split()) or remedies.get(error.status, "no reason given")
