"""How long the tests wait, what they allow, what the checks are called, and servers that err."""

import dataclasses
from collections.abc import Callable, Iterable

from components.gate.check import Check
from components.serving_check.checks import Bounds
from components.serving_check.contract import OUTPUTS, Server, Tensors, Timeouts

TIMEOUTS = Timeouts(start_s=60.0, request_s=20.0)
# Two busy cores may be slow, and that is not what is tested.
BOUNDS = Bounds(max_p99_latency_ms=5_000.0, max_memory_mib=2_048.0)

NAMES = [
    *(f"serving.signature.{signature}" for signature in OUTPUTS),
    "serving.single",
    "serving.batch",
    "serving.agreement",
    "serving.latency",
    "serving.wrong_size",
    "serving.not_png",
    "serving.memory",
]


def failed(checks: Iterable[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks if not check.passed}


def altered(server: Server, alter: Callable[[str, Tensors, Tensors], Tensors]) -> Server:
    """The server, but `alter` gets (signature, inputs, answer) and says what is answered."""

    def wrap(ask):
        return lambda signature, inputs: alter(signature, inputs, ask(signature, inputs))

    return dataclasses.replace(server, apis={name: wrap(ask) for name, ask in server.apis.items()})
