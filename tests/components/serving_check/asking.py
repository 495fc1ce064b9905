"""How long the tests wait, what they allow, what the checks are called, and servers that err."""

import dataclasses
import functools
from collections.abc import Callable, Iterable
from pathlib import Path

from components.gate.check import Check
from components.serving_check.asked_images import Sample
from components.serving_check.contract import OUTPUTS, Server, Tensors, Timeouts
from components.serving_check.questions import Bounds
from components.serving_check.servers import serve
from components.serving_check.verdict import check_served

TIMEOUTS = Timeouts(start_s=300.0, request_s=300.0)
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


def check(
    model: Path,
    sample: Sample,
    *,
    model_server: str | None = None,
    timeouts: Timeouts = TIMEOUTS,
) -> tuple[Check, ...]:
    """Serves the model by tensorflow_model_server, or by TensorFlow's loader, and asks it all."""
    served = functools.partial(serve, model_server=model_server, timeouts=timeouts)
    return check_served(served, model, sample, BOUNDS)


def failed(checks: Iterable[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks if not check.passed}


def altered(server: Server, alter: Callable[[str, Tensors, Tensors], Tensors]) -> Server:
    """The server, but `alter` gets (signature, inputs, answer) and says what is answered."""

    def ask(signature: str, inputs: Tensors) -> Tensors:
        return alter(signature, inputs, server.ask(signature, inputs))

    return dataclasses.replace(server, ask=ask)
