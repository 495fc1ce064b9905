"""A local HTTP server that holds pipelines, runs and schedules as Kubeflow Pipelines' API does.

Every request's body is read by the API's published definitions (`kfp_server_api`), and what they
do not know is refused with 400, as by the real server. Answers are written by them as well.
"""

import contextlib
import dataclasses
import email
import itertools
import json
import re
import ssl
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kfp_server_api as api
import yaml

from tests import http_servers

PREFIX = "/apis/v2beta1"
_CODEC = api.ApiClient(api.Configuration())


class Refused(Exception):
    """A request that the API's definitions do not allow; the message says why."""

    status, code = 400, 3


class AlreadyExists(Refused):
    """A name that is taken."""

    status, code = 409, 6


def read(body: bytes, model: str) -> Any:
    """The body as a model of the API, which must hold all of it."""
    message = _CODEC.deserialize(SimpleNamespace(data=body.decode()), model)
    # An int64 is a text in these definitions, and protobuf's JSON takes numbers as well.
    if _CODEC.sanitize_for_serialization(message) != json.loads(body) | _as_texts(body):
        raise Refused(f"the body is no {model}: {body.decode()[:200]}")
    return message


def _as_texts(body: bytes) -> dict[str, str]:
    fields = json.loads(body)
    return {name: str(value) for name, value in fields.items() if type(value) is int}


@dataclasses.dataclass
class State:
    """What the server holds, and what it was asked."""

    pipelines: list[Any] = dataclasses.field(default_factory=list)
    versions: list[Any] = dataclasses.field(default_factory=list)
    experiments: list[Any] = dataclasses.field(default_factory=list)
    runs: list[Any] = dataclasses.field(default_factory=list)
    recurring_runs: list[Any] = dataclasses.field(default_factory=list)
    requests: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    authorization: set[str | None] = dataclasses.field(default_factory=set)
    token: str = ""
    instead: dict[str, bytes] = dataclasses.field(default_factory=dict)  # of answers, by path
    page_size: int = 100
    ids: Iterator[int] = dataclasses.field(default_factory=lambda: itertools.count(1))

    def id(self) -> str:
        return f"id-{next(self.ids)}"


class _Handler(http_servers.Handler):
    state: State

    def _serve(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        body = self.body()
        path = url.path.removeprefix(PREFIX)
        self.state.requests.append((self.command, path))
        self.state.authorization.add(self.headers.get("authorization"))
        if path in self.state.instead:
            return self.answer(200, self.state.instead[path])
        try:
            if self.state.token and self.headers.get("authorization") != self.state.token:
                return self._answer(401, {"code": 16, "message": "Request not authenticated"})
            answer = self._route(self.command, path, query, body)
        except Refused as error:
            fields = {"code": error.code, "message": str(error)}
            if path.startswith("/pipelines/upload"):  # the one part that is no gateway to gRPC
                fields = {"error_message": str(error), "error_details": f"{error}\nserver.go:1"}
            return self._answer(error.status, fields)
        if answer is None:
            return self._answer(404, {"code": 5, "message": f"{path} not found"})
        return self._answer(200, _CODEC.sanitize_for_serialization(answer))

    do_GET = do_POST = do_DELETE = _serve

    def _answer(self, code: int, fields: Any) -> None:
        self.answer(code, json.dumps(fields).encode(), **{"Content-Type": "application/json"})

    def _route(self, verb: str, path: str, query: dict[str, str], body: bytes) -> Any:
        state = self.state
        match verb, path.strip("/").split("/"):
            case "GET", ["healthz"]:
                return api.V2beta1GetHealthzResponse(multi_user=False)
            case "GET", ["pipelines"]:
                pipelines = _of_namespace(state.pipelines, query)
                return self._page(pipelines, query, api.V2beta1ListPipelinesResponse)
            case "POST", ["pipelines", "upload"]:
                self._require_pipeline(body)
                _require_new(query["name"], _of_namespace(state.pipelines, query))
                pipeline = api.V2beta1Pipeline(
                    pipeline_id=state.id(),
                    display_name=query["name"],
                    namespace=query.get("namespace", ""),
                )
                state.pipelines.append(pipeline)
                self._add_version(pipeline.pipeline_id, query["name"])
                return pipeline
            case "POST", ["pipelines", "upload_version"]:
                self._require_pipeline(body)
                _require_new(query["name"], self._versions(query["pipelineid"]))
                return self._add_version(query["pipelineid"], query["name"])
            case "GET", ["pipelines", id_, "versions"]:
                return self._page(
                    self._versions(id_), query, api.V2beta1ListPipelineVersionsResponse
                )
            case "GET", ["experiments"]:
                experiments = _of_namespace(state.experiments, query)
                return self._page(experiments, query, api.V2beta1ListExperimentsResponse)
            case "POST", ["experiments"]:
                experiment = read(body, "V2beta1Experiment")
                experiment.experiment_id = state.id()
                state.experiments.append(experiment)
                return experiment
            case "POST", ["runs"]:
                run = read(body, "V2beta1Run")
                self._require_version(run)
                run.run_id, run.state = state.id(), "PENDING"
                state.runs.append(run)
                return run
            case "GET", ["runs", id_]:
                return next((one for one in state.runs if one.run_id == id_), None)
            case "POST", ["recurringruns"]:
                made = read(body, "V2beta1RecurringRun")
                self._require_version(made)
                if made.trigger.cron_schedule.cron == "0 0 24 * * *":  # by robfig/cron
                    raise Refused("Schedule cron is not a supported format")
                made.recurring_run_id = state.id()
                made.namespace = next(
                    one.namespace
                    for one in state.experiments
                    if one.experiment_id == made.experiment_id
                )
                made.status = {"ENABLE": "ENABLED"}.get(made.mode, "DISABLED")
                state.recurring_runs.append(made)
                return made
            case "GET", ["recurringruns"]:
                made = _of_namespace(state.recurring_runs, query)
                return self._page(made, query, api.V2beta1ListRecurringRunsResponse)
            case "DELETE", ["recurringruns", id_]:
                left = [one for one in state.recurring_runs if one.recurring_run_id != id_]
                if len(left) == len(state.recurring_runs):
                    return None
                state.recurring_runs = left
                return {}
        return None

    def _page(self, every: list[Any], query: dict[str, str], response: Any) -> Any:
        """A page of those that the filter (filter.proto, in JSON) lets through."""
        given = json.loads(query.get("filter", "") or "{}")
        for one in given.get("predicates", ()):
            wanted = one.get("string_value", one.get("stringValue"))
            key = {"name": "display_name"}.get(one["key"], one["key"])
            every = [item for item in every if getattr(item, key) == wanted]
        start = int(query.get("page_token") or 0)
        size = min(int(query.get("page_size") or 10), self.state.page_size)
        field = next(
            name for name, kind in response.openapi_types.items() if kind.startswith("list[")
        )
        end = start + size
        token = str(end) if end < len(every) else ""
        # The real server leaves out an empty list.
        return response(**{field: every[start:end] or None, "next_page_token": token})

    def _versions(self, pipeline_id: str) -> list[Any]:
        return [one for one in self.state.versions if one.pipeline_id == pipeline_id]

    def _add_version(self, pipeline_id: str, name: str) -> Any:
        version = api.V2beta1PipelineVersion(
            pipeline_id=pipeline_id, pipeline_version_id=self.state.id(), display_name=name
        )
        self.state.versions.append(version)
        return version

    def _require_pipeline(self, body: bytes) -> None:
        """The form field `uploadfile` with two YAML documents."""
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        (part,) = email.message_from_bytes(head + body).get_payload()
        if not re.search(r'name="uploadfile"', part["Content-Disposition"]):
            raise Refused("expected the form field uploadfile")
        spec, _ = yaml.safe_load_all(part.get_payload(decode=True))
        if spec["schemaVersion"] != "2.1.0":
            raise Refused(f"schema {spec['schemaVersion']}, expected 2.1.0")

    def _require_version(self, run: Any) -> None:
        known = {(one.pipeline_id, one.pipeline_version_id) for one in self.state.versions}
        reference = run.pipeline_version_reference
        if (reference.pipeline_id, reference.pipeline_version_id) not in known:
            raise Refused("no such pipeline version")
        if run.experiment_id not in {one.experiment_id for one in self.state.experiments}:
            raise Refused("no such experiment")


def _of_namespace(every: list[Any], query: dict[str, str]) -> list[Any]:
    """As a cluster of several users: what no namespace is given for has one of its own, ""."""
    return [one for one in every if (one.namespace or "") == query.get("namespace", "")]


def _require_new(name: str, every: list[Any]) -> None:
    if name in {one.display_name for one in every}:
        raise AlreadyExists(f"the name {name} already exist. Please specify a new name")


def serving(
    state: State, tls: ssl.SSLContext | None = None
) -> contextlib.AbstractContextManager[str]:
    """The server's URL."""
    return http_servers.serving(type("Handler", (_Handler,), {"state": state}), tls)


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key, both PEM."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_file, key_file
