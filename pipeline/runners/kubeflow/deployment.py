"""How the tasks of the compiled pipeline run: image, storage, resources, secrets.

Synopsis::

    Mount.parse("pvc://models/mnist")      # Mount("/mnt/models/mnist", claim="models")
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.config import ConfigError
from trainer.host.text import quoted

_CLAIM = "pvc://"
_MOUNTS = "/mnt"
# The backend names a pod's volume after the claim, and such a name has no dots and 63 characters
# (kubeflow/pipelines, backend/src/v2/driver/k8s.go, makeVolumeMountPatch).
_CLAIM_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

# Names of Kubernetes: a secret, a key in it (validation.go, IsDNS1123Subdomain, IsConfigMapKey).
_SECRET = re.compile(
    r"(?P<secret>[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?):(?P<key>[-._A-Za-z0-9]{1,253})"
    r"=(?P<variable>[A-Za-z_][A-Za-z0-9_]*)"
)

# [registry/]path[:tag][@digest] (distribution/reference, regexp.go).
_PATH = r"[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"([A-Za-z0-9.-]+(:[0-9]+)?/)?{_PATH}(/{_PATH})*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@[A-Za-z0-9+._-]+:[0-9A-Fa-f]{32,})?"
)


@dataclass(frozen=True)
class Mount:
    """A directory in the containers.

    Attributes:
      path: absolute, in the container.
      claim: the PersistentVolumeClaim to mount; "" if the image or the engine has the directory.
    """

    path: str
    claim: str = ""

    @classmethod
    def parse(cls, text: str) -> Mount:
        """Reads "pvc://CLAIM/SUB/DIRECTORY" or an absolute directory; raises ConfigError."""
        if text.startswith(_CLAIM):
            claim, _, rest = text.removeprefix(_CLAIM).partition("/")
            if not _CLAIM_NAME.fullmatch(claim) or ".." in rest.split("/"):
                raise ConfigError(
                    f"{quoted(text)} names no directory of a volume claim, expected "
                    "pvc://CLAIM/DIRECTORY with a claim of lower-case letters, digits and hyphens, "
                    "at most 63: a volume of a pod is named after the claim"
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
        """The directory at which the claim is mounted."""
        return f"{_MOUNTS}/{self.claim}"


@dataclass(frozen=True)
class SecretVariable:
    """An environment variable whose value is a key of a Kubernetes secret."""

    secret: str
    key: str
    variable: str

    @classmethod
    def parse(cls, text: str) -> SecretVariable:
        """Reads "SECRET:KEY=VARIABLE"; raises ConfigError."""
        match = _SECRET.fullmatch(text)
        if match is None:
            raise ConfigError(
                f"{quoted(text)} names no variable from a secret, expected SECRET:KEY=VARIABLE "
                "such as proxy:url=HTTPS_PROXY"
            )
        return cls(**match.groupdict())


@dataclass(frozen=True)
class Resource:
    """A resource that a task asks for.

    Attributes:
      kind: "gpus", "cpus" or "memory_gb" (10^9 bytes).
      amount: 0 asks for nothing; GPUs are whole.
      component: the component that asks; "" for those that train.
    """

    kind: str
    amount: float
    component: str = ""


@dataclass(frozen=True)
class Deployment:
    """Where and how the tasks run.

    Attributes:
      pipeline_root: URI below which the backend keeps artifacts.
      data: the directory of tensorflow-datasets or of IDX folders; None for neither.
      resources: a later one for the same component and kind replaces an earlier one.
      retries: number of further attempts at a failed task.
    """

    image: str
    pipeline_root: str
    serving: Mount
    data: Mount | None = None
    secrets: tuple[SecretVariable, ...] = ()
    resources: tuple[Resource, ...] = ()
    retries: int = 2

    def __post_init__(self) -> None:
        if not _IMAGE.fullmatch(self.image):
            raise ConfigError(
                f"the image is {quoted(self.image)}, expected one as a node pulls it, such as "
                "registry.example/tfx-mnist:0.1.0"
            )
