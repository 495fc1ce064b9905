"""Serves the candidate, asks it everything, and tells the model's fault from the machine's.

docs/serving.md says when a second attempt and a trivial model decide.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import tensorflow as tf

from components.gate.check import Check, NotChecked
from components.serving_check.asked_images import Sample
from components.serving_check.contract import BadAnswer, Server, ServerLost, ServingError
from components.serving_check.questions import (
    LATENCY,
    LATENCY_REQUESTS,
    REMEDY,
    Bounds,
    ask_all,
    p99_ms,
)
from components.serving_check.server_process import PREFIX
from trainer.features import SERVING_DEFAULT

_LOAD = "serving.load"
_REMEDY = (
    "see that the machine has memory, disk space and time to spare (docs/serving.md); the same "
    "command makes the check again"
)

_log = logging.getLogger(__name__)

Serve = Callable[[Path], AbstractContextManager[Server]]


def check_served(
    served: Serve, model_directory: Path, sample: Sample, bounds: Bounds
) -> tuple[Check, ...]:
    """Returns the checks, only up to the one at which the model ended its server, if it did.

    Args:
      served: a context in which a fresh server has loaded the model of a directory.

    Raises:
      NotChecked: the model could not be judged, for a reason that says nothing about it.
    """
    attempt = functools.partial(_attempt, served, model_directory, sample, bounds)
    try:
        first = attempt()
        if first.settled:
            return first.checks
        _log.warning("asking a fresh server again, since %s", first.problem)
        second = attempt()
        if second.settled:
            return second.checks
        if second.lost and (second.crashed_at is None or second.crashed_at != first.crashed_at):
            raise _not_checked(f"{first.problem}; then {second.problem}")
        _require_sound_machine(served, None if second.lost else bounds.max_p99_latency_ms)
        return second.checks
    except OSError as error:
        raise _not_checked(str(error)) from error


@dataclasses.dataclass(frozen=True)
class _Attempt:
    """The checks that one server made possible, and why there are no more if it was lost."""

    checks: tuple[Check, ...]
    lost: ServerLost | None

    @property
    def crashed_at(self) -> str | None:
        """The check at which the server ended by itself; it is the last one, and failed."""
        return self.checks[-1].name if self.lost is not None and self.lost.by_itself else None

    @property
    def settled(self) -> bool:
        """Whether no second one is needed: all passed, or one failed by the model's fault alone."""
        failed = {check.name for check in self.checks if not check.passed} - {self.crashed_at}
        return bool(failed - {LATENCY}) or (self.lost is None and not failed)

    @property
    def problem(self) -> str:
        if self.lost is not None:
            return str(self.lost)
        return next(check.sentence for check in self.checks if not check.passed)


def _attempt(served: Serve, model_directory: Path, sample: Sample, bounds: Bounds) -> _Attempt:
    checks: list[Check] = []
    try:
        with served(model_directory) as server:
            sentence = f"{server.name} loaded the exported model in {server.start_s:.1f} s"
            checks.append(Check(_LOAD, True, server.start_s, None, sentence))
            for check in ask_all(server, sample, bounds):
                checks.append(check)
    except ServerLost as lost:
        if not checks and lost.by_itself:
            sentence = f"the exported model cannot be served: {lost}; {REMEDY}"
            checks.append(Check(_LOAD, False, str(lost), None, sentence))
        return _Attempt(tuple(checks), lost)
    return _Attempt(tuple(checks), None)


def _require_sound_machine(served: Serve, max_p99_latency_ms: float | None) -> None:
    """Raises NotChecked if a trivial model, served as the candidate was, does no better."""
    numbers = {"x": np.arange(3, dtype=np.float32)}
    with tempfile.TemporaryDirectory(prefix=PREFIX) as directory:
        _export_trivial(directory)
        try:
            with served(Path(directory)) as server:
                answer = server.ask(SERVING_DEFAULT, numbers)
                if not np.array_equal(answer.get("y", ()), 2 * numbers["x"]):
                    raise BadAnswer(f"it answers {answer}")
                if max_p99_latency_ms is None:
                    return
                found_ms = p99_ms(
                    server.ask,
                    SERVING_DEFAULT,
                    [numbers] * LATENCY_REQUESTS,
                    bound_ms=max_p99_latency_ms,
                )
        except ServingError as reason:
            raise _not_checked(f"a trivial model cannot be served either: {reason}") from None
    if found_ms > max_p99_latency_ms:
        raise NotChecked(
            "the latency could not be judged, which says nothing about the model: a trivial one "
            f"takes {found_ms:.1f} ms here; the bound is {max_p99_latency_ms:g} ms; run the same "
            "command again when the machine is idle, or set serving.max_p99_latency_ms"
        )


def _export_trivial(directory: str) -> None:
    module = tf.Module()
    spec = tf.TensorSpec([None], tf.float32)
    # AutoGraph, which a doubling does not need, leaves a file behind.
    module.double = tf.function(lambda x: {"y": 2 * x}, input_signature=[spec], autograph=False)
    tf.saved_model.save(module, directory, {SERVING_DEFAULT: module.double})


def _not_checked(why: str) -> NotChecked:
    return NotChecked(
        f"the model could not be served, which says nothing about the model: {why}; {_REMEDY}"
    )
