"""The machines that train together, as TF_CONFIG names them.

A TFJob's or a TrainJob's containers have this variable of TensorFlow's (docs/distributed.md)::

    {"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 1}}
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer.host.errors import Refusal
from trainer.host.text import is_port, quoted

VARIABLE = "TF_CONFIG"
_ROLES = ("chief", "worker")


class ClusterError(Refusal, ValueError):
    """TF_CONFIG cannot be used; the message is one line for the user."""


@dataclass(frozen=True)
class Cluster:
    """The machines of one training, and this process among them.

    Addresses are "host:port", the chief's first; `index` is this machine's place among them.
    """

    addresses: tuple[str, ...]
    index: int

    @property
    def size(self) -> int:
        return len(self.addresses)

    @property
    def is_chief(self) -> bool:
        """Whether this machine writes checkpoints and exports the model."""
        return self.index == 0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Cluster | None:
        """Reads TF_CONFIG; returns None if it names no second machine, and raises `ClusterError` if
        its form is not the expected one.
        """
        text = environment.get(VARIABLE, "").strip() or "{}"
        try:
            found = json.loads(text)
            machines = found.get("cluster")
            cluster = cls._parse(machines, found["task"]) if machines else None
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ClusterError(
                f"{VARIABLE} is {quoted(text)} ({type(error).__name__}: {error}), expected "
                '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", '
                '"index": N}}; unset it to train on this machine alone'
            ) from error
        return cluster if cluster and cluster.size > 1 else None

    @classmethod
    def _parse(cls, machines: Mapping[str, list[str]], task: Mapping[str, Any]) -> Cluster:
        if others := sorted(set(machines) - set(_ROLES)):
            raise ValueError(f"tasks of type {', '.join(others)}")
        by_role = {role: machines.get(role, []) for role in _ROLES}
        for name, addresses in by_role.items():
            if not isinstance(addresses, list):
                raise TypeError(f"the machines of type {name} are no list")
        every = by_role["chief"] + by_role["worker"]
        for number, address in enumerate(every):
            if not _is_address(address):
                raise ValueError(f"{quoted(address)} is no address")
            if address in every[:number]:
                raise ValueError(f"{quoted(address)} is named twice")
        role, index = task["type"], int(task["index"])
        if not 0 <= index < len(by_role[role]):
            raise ValueError(f"no {role} has the index {index}")
        before = len(by_role["chief"]) if role == "worker" else 0
        return cls(tuple(every), before + index)


def _is_address(value: object) -> bool:
    if not isinstance(value, str):
        return False
    host, _, port = value.rpartition(":")
    return bool(host) and not any(map(str.isspace, host)) and is_port(port)
