"""What only Kubernetes knows: volume claims, secrets as environment, the run's id.

Synopsis::

    mount = Mount.parse("pvc://models/mnist")       # Mount("/mnt/models/mnist", claim="models")
    platform_spec(graph, serving=mount, data=None, secrets=())

It goes into the YAML as a second document (kubernetes_executor_config.proto, in JSON). Where a
comment names a file, it is of kubeflow/pipelines, read at 2.14 to 2.17.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config import ConfigError
from pipeline.runners.kubeflow.names import BASELINE, PLAN, RUN_ID_VARIABLE
from pipeline.runners.kubeflow.topology import Node
from trainer.host.text import quoted

_CLAIM = "pvc://"
_MOUNTS = "/mnt"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


@dataclass(frozen=True)
class Mount:
    """A directory in the containers.

    Attributes:
      path: absolute, in the container.
      claim: name of the PersistentVolumeClaim that is mounted for it; "" where something else is.
    """

    path: str
    claim: str = ""

    @classmethod
    def parse(cls, text: str) -> Mount:
        """Reads "pvc://CLAIM/SUB/DIRECTORY" or an absolute directory.

        Raises:
          ConfigError: it is neither.
        """
        if text.startswith(_CLAIM):
            claim, _, rest = text.removeprefix(_CLAIM).partition("/")
            if not _NAME.fullmatch(claim) or ".." in rest.split("/"):
                raise ConfigError(
                    f"{quoted(text)} names no directory of a volume claim, expected "
                    "pvc://CLAIM/DIRECTORY"
                )
            return cls("/".join(filter(None, (_MOUNTS, claim, rest.strip("/")))), claim)
        if not text.startswith("/") or ".." in text.split("/"):
            raise ConfigError(
                f"{quoted(text)} is no directory in a container, expected pvc://CLAIM/DIRECTORY or "
                "an absolute path without '..': a release is one rename, which an object store "
                "does not have"
            )
        return cls(text)

    @property
    def root(self) -> str:
        """Where the claim is mounted."""
        return f"{_MOUNTS}/{self.claim}"


@dataclass(frozen=True)
class SecretVariable:
    """An environment variable whose value is a key of a Kubernetes secret."""

    secret: str
    key: str
    variable: str

    @classmethod
    def parse(cls, text: str) -> SecretVariable:
        """Reads "SECRET:KEY=VARIABLE".

        Raises:
          ConfigError: it is no such text.
        """
        secret, colon, rest = text.partition(":")
        key, equals, variable = rest.partition("=")
        if not (secret and colon and key and equals and variable.isidentifier()):
            raise ConfigError(
                f"{quoted(text)} names no variable from a secret, expected SECRET:KEY=VARIABLE "
                "such as proxy:url=HTTPS_PROXY"
            )
        return cls(secret, key, variable)


def platform_spec(
    graph: Sequence[Node],
    *,
    serving: Mount,
    data: Mount | None,
    secrets: Sequence[SecretVariable],
) -> dict[str, Any]:
    """The document; each claim is mounted only where the task's parameters name a place in it."""
    reads_data = {PLAN, *(node.name for node in graph if "data_dir" in node.exec_properties)}
    reads_served = {
        *(PLAN, BASELINE),
        *(node.name for node in graph if "serving_dir" in node.exec_properties),
    }
    executors = {}
    for name in (PLAN, BASELINE, *(node.name for node in graph)):
        mounts = {
            mount.claim: mount.root
            for mount, readers in ((serving, reads_served), (data, reads_data))
            if mount is not None and mount.claim and name in readers
        }
        executors[f"exec-{name}"] = _executor(mounts, secrets)
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}


def _executor(mounts: dict[str, str], secrets: Sequence[SecretVariable]) -> dict[str, Any]:
    """KubernetesExecutorConfig."""
    config: dict[str, Any] = {
        # The backend labels each pod with the run's id, and tells it to no container otherwise
        # (backend/src/apiserver/template/v2_template.go, RunWorkflow).
        "fieldPathAsEnv": [
            {"name": RUN_ID_VARIABLE, "fieldPath": "metadata.labels['pipeline/runid']"}
        ]
    }
    if mounts:
        config["pvcMount"] = [
            {"constant": claim, "mountPath": root} for claim, root in sorted(mounts.items())
        ]
    if secrets:
        config["secretAsEnv"] = [
            {
                "secretName": one.secret,
                "keyToEnv": [{"secretKey": one.key, "envVar": one.variable}],
            }
            for one in secrets
        ]
    return config
