"""Talks to the API of Kubeflow Pipelines by kfp's client; needs kfp.

Synopsis::

    compiled = CompiledFile.read(Path("pipeline.yaml"))
    run = Run(compiled, compiled.values({"dataset": "mnist"}), experiment="tfx-mnist")
    with connected("http://localhost:8888") as client:
        client.status(client.submit(run)).state                 # "PENDING"
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kfp_server_api
import urllib3
from kfp import client as kfp_client

from pipeline.result import ExitCode
from pipeline.runners.kubeflow.names import PIPELINE_NAME, task_name
from pipeline.runners.kubeflow.parameters import CompiledFile, Run
from pipeline.runners.kubeflow.task_lines import FAILURES
from trainer.host.errors import Refusal, UserError
from trainer.host.text import quoted

ANSWER_S = 60  # the longest wait for one answer of the API
_FAILED = ("FAILED", "CANCELED")  # states of a run or a task (run.proto, RuntimeState)

# Argo puts "main: Error (exit code 1): " in front of a container's message (argo-workflows,
# workflow/controller/operator.go, inferFailedReason).
_REFUSED = re.compile(rf"(\w+: \w+ \(exit code \d+\): )?{FAILURES[ExitCode.REFUSED]}\b")


class ClientError(UserError):
    """The API did not answer, or refused; the message is one line."""


class InvalidRequest(ClientError, Refusal):
    """Something of this name does not exist, or the API does not accept a value."""


@dataclass(frozen=True)
class RunStatus:
    """The state of a run, such as "SUCCEEDED"; most API versions leave `failures` empty."""

    run_id: str
    name: str
    state: str
    tasks: Mapping[str, str]
    failures: Mapping[str, str]

    @property
    def failed(self) -> bool:
        """True for a cancelled run as well."""
        return self.state in _FAILED

    @property
    def refused(self) -> bool:
        """Whether a gate refused the run; False if the API does not tell."""
        return any(map(_REFUSED.match, self.failures.values()))


@contextlib.contextmanager
def connected(host: str, **credentials: Any) -> Iterator[PipelineClient]:
    """Makes a `PipelineClient`; errors within are InvalidRequest or another ClientError."""
    try:
        yield PipelineClient(host, **credentials)
    except kfp_server_api.ApiException as error:
        if not error.status:
            raise ClientError(_unreachable(host, error.reason)) from error
        kind = InvalidRequest if error.status in (400, 404) else ClientError
        raise kind(f"{host} answers {error.status} {error.reason}: {_reason(error)}") from error
    except urllib3.exceptions.HTTPError as error:
        raise ClientError(_unreachable(host, getattr(error, "reason", error))) from error
    except ValueError as error:  # kfp's own, such as of two experiments with one name
        raise ClientError(" ".join(str(error).split())) from error


def _unreachable(host: str, reason: object) -> str:
    # urllib3 puts the connection in front of the reason.
    text = re.sub(r"^(<.*>|\w+\(.*?\)): ", "", " ".join(str(reason).split()))
    return (
        f"{host} does not answer ({text}), expected the API of Kubeflow Pipelines: is the "
        "port-forward there, and with https: does --ca-cert name its authority?"
    )


def _reason(error: kfp_server_api.ApiException) -> str:
    """Returns the server's message (google.rpc.Status; in uploads its own Error), or a remedy."""
    remedies = {401: "give another --token-file", 403: "ask for the rights, or another --namespace"}
    try:
        fields = json.loads(error.body)
        message = fields["error_message" if "error_message" in fields else "message"].split()
    except (ValueError, KeyError, TypeError, AttributeError):
        message = []
    return " ".join(message) or remedies.get(error.status, "no reason given")


class PipelineClient(kfp_client.Client):
    """kfp's client for our pipeline, with a client certificate and limited waits."""

    def __init__(
        self,
        host: str,
        *,
        namespace: str = "",
        token: str = "",
        ca_cert: Path | None = None,
        cert: Path | None = None,
        key: Path | None = None,
    ) -> None:
        """Connects, and asks whether the API is there.

        Args:
          namespace: that of the user, in a cluster of several users; "" elsewhere.
          ca_cert: certificates of authorities to trust; None for the system's.
        """
        self._certificate = (cert and str(cert), key and str(key))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is no client for the API before 2.0
            super().__init__(
                host=host,
                namespace=namespace or "kubeflow",  # kfp's default, which it takes for none
                existing_token=token or None,
                ssl_ca_cert=ca_cert and str(ca_cert),
            )
        rest = self._run_api.api_client.rest_client  # that of all APIs
        rest.request = functools.partial(self._ask, rest.request)
        if namespace:  # otherwise kfp's client has asked
            self.get_kfp_healthz()

    def _ask(self, request: Callable[..., Any], *args: Any, **given: Any) -> Any:
        answer = request(*args, **{**given, "_request_timeout": ANSWER_S})
        # kfp makes an answer without any field of what is no JSON, as of a page to log in.
        with contextlib.suppress(ValueError):
            if isinstance(json.loads(answer.data), dict):
                return answer
        raise self._another_program()

    def _another_program(self) -> ClientError:
        return ClientError(
            f"{self._run_api.api_client.configuration.host} answers as another program, expected "
            "the API of Kubeflow Pipelines: give another --host, or a --token-file where one has "
            "to log in"
        )

    def _load_config(self, *args: Any, **kwargs: Any) -> kfp_server_api.Configuration:
        config = super()._load_config(*args, **kwargs)
        config.cert_file, config.key_file = self._certificate
        config.retries = 0
        return config

    def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:
        """Does what kfp's method does, but tries only once, and refuses a page to log in."""
        api = self._healthz_api
        # As kfp-server-api 2.16 and newer call it, or as older ones do.
        ask = getattr(api, "healthz_service_get_healthz", None) or api.get_healthz
        answer = ask(_request_timeout=ANSWER_S)
        if getattr(answer, "multi_user", None) is None:  # the API always says it
            raise self._another_program()
        return answer

    def _load_context_setting_or_default(self) -> None:
        """Ignores settings that another program left in the home directory."""
        self._context_setting = {"namespace": ""}

    def set_user_namespace(self, namespace: str) -> None:
        """Leaves the home directory as it is, which in a pod may be read-only."""
        self._context_setting["namespace"] = namespace

    def submit(self, run: Run) -> str:
        """Starts a run; returns its id."""
        experiment_id, settings = self._prepare(run)
        name = f"{PIPELINE_NAME} {run.compiled.version}"
        return str(self.run_pipeline(experiment_id, name, **settings).run_id)

    def schedule(self, run: Run, *, name: str, cron: str, catch_up: bool) -> tuple[str, int]:
        """Replaces the schedules of that name; returns the new id and how many were replaced.

        Runs never overlap: a second one would be compared with the version that the first is about
        to replace.

        Args:
          cron: six fields in UTC, seconds first.
          catch_up: whether to make up for missed runs.
        """
        experiment_id, settings = self._prepare(run)
        older = [one for one in self.schedules() if one.display_name == name]
        made = self.create_recurring_run(
            experiment_id,
            name,
            cron_expression=cron,
            no_catchup=not catch_up,
            max_concurrency=1,
            **settings,
        )
        # After the new one is there, so that a failure leaves two and not none.
        for one in older:
            self.delete_recurring_run(one.recurring_run_id)
        return str(made.recurring_run_id), len(older)

    def schedules(self) -> list[kfp_server_api.V2beta1RecurringRun]:
        ours = self._our_pipeline_id()
        if ours is None:
            return []
        found = _pages(self.list_recurring_runs, "recurring_runs", namespace=self._our_namespace)
        # A run that brings its own pipeline has no reference.
        references = ((one, one.pipeline_version_reference) for one in found)
        of_ours = (one for one, version in references if version and version.pipeline_id == ours)
        return sorted(of_ours, key=lambda one: (one.display_name, one.recurring_run_id))

    def unschedule(self, name: str) -> int:
        """Removes the schedules, not their runs; raises InvalidRequest if there are none."""
        every = self.schedules()
        named = [one for one in every if one.display_name == name]
        if not named:
            known = ", ".join(sorted({one.display_name for one in every})) or "none"
            raise InvalidRequest(f"there is no schedule {quoted(name)}, expected one of: {known}")
        for one in named:
            self.delete_recurring_run(one.recurring_run_id)
        return len(named)

    def status(self, run_id: str) -> RunStatus:
        run = self.get_run(run_id)
        details = run.run_details and run.run_details.task_details
        by_id = {one.display_name: one for one in details or ()}
        # The API lists Argo's nodes. Each task has a driver, as the whole DAG has, which is called
        # "root" (kubeflow/pipelines, backend/src/v2/compiler/argocompiler/dag.go).
        ids = [id_ for id_ in by_id if f"{id_}-driver" in by_id and id_ != "root"]
        # In any order; those that wait have no start.
        ids.sort(key=lambda id_: str(by_id[id_].start_time or "later"))
        tasks = {task_name(id_): by_id[id_] for id_ in ids}
        return RunStatus(
            run_id=run.run_id,
            name=run.display_name,
            state=run.state or "PENDING",
            # Argo's omitted nodes have no state, and an end.
            tasks={
                name: one.state or ("SKIPPED" if one.end_time else "PENDING")
                for name, one in tasks.items()
            },
            failures={
                name: (one.error and one.error.message) or ""
                for name, one in tasks.items()
                if one.state in _FAILED
            },
        )

    def _prepare(self, run: Run) -> tuple[str, dict[str, Any]]:
        """Uploads the pipeline; returns the experiment's id, and kfp's arguments."""
        version = self._upload(run.compiled)
        experiment = self.create_experiment(run.experiment, namespace=self._our_namespace)
        return experiment.experiment_id, {
            "params": dict(run.values),
            "pipeline_id": version.pipeline_id,
            "version_id": version.pipeline_version_id,
            "pipeline_root": run.compiled.root,
            "service_account": run.service_account or None,
        }

    def _upload(self, compiled: CompiledFile) -> kfp_server_api.V2beta1PipelineVersion:
        """Uploads a version named after its content, unless there is one."""
        path, namespace = str(compiled.path), self._our_namespace
        id_ = self._our_pipeline_id()
        if id_ is None:
            id_ = self.upload_pipeline(path, PIPELINE_NAME, namespace=namespace).pipeline_id
        for version in _pages(self.list_pipeline_versions, "pipeline_versions", pipeline_id=id_):
            if version.display_name == compiled.version:
                return version
        return self.upload_pipeline_version(path, compiled.version, pipeline_id=id_)

    def _our_pipeline_id(self) -> str | None:
        """Replaces kfp's `get_pipeline_id`, which sends no namespace (2.5 to 2.16)."""
        named = {"operation": "EQUALS", "key": "display_name", "stringValue": PIPELINE_NAME}
        found = _pages(
            self.list_pipelines,
            "pipelines",
            namespace=self._our_namespace,
            filter=json.dumps({"predicates": [named]}),
        )
        return next((str(one.pipeline_id) for one in found), None)

    @property
    def _our_namespace(self) -> str | None:
        return self.get_user_namespace() or None


def _pages(list_: Callable[..., Any], field: str, **given: Any) -> Iterator[Any]:
    token = ""
    while True:
        answer = list_(page_token=token, page_size=100, **given)
        yield from getattr(answer, field) or ()
        token = answer.next_page_token
        if not token:
            return
