"""Serves the candidate and asks it everything: what is its fault, and what is the machine's.

    checks = check_model(model_directory, sample, bounds, model_server=None, timeouts=Timeouts())

Where the server was lost or too slow, the candidate is served again by a fresh process. Where that
is lost or too slow as well, the same server is given a trivial model. The candidate is blamed only
for what that model did not suffer: a crash at the same question both times, or a missed bound.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import tensorflow as tf

from components.gate.check import Check, NotChecked
from components.serving_check.checks import (
    LATENCY,
    LATENCY_REQUESTS,
    REMEDY,
    Bounds,
    ask_all,
    p99_ms,
)
from components.serving_check.contract import BadAnswer, Server, ServerLost, ServingError, Timeouts
from components.serving_check.process import PREFIX
from components.serving_check.sample import Sample
from components.serving_check.servers import serve
from trainer.features import SERVING_DEFAULT

_LOAD = "serving.load"
_REMEDY = (
    "see that the machine has memory, disk space and time to spare (docs/serving.md); the same "
    "command makes the check again"
)

_log = logging.getLogger(__name__)

Serve = Callable[[Path], AbstractContextManager[Server]]


@dataclasses.dataclass(frozen=True)
class _Attempt:
    """What came of asking one server.

    Attributes:
      checks: those that were made.
      lost: why there are no more; None where all were made.
    """

    checks: tuple[Check, ...]
    lost: ServerLost | None

    @property
    def settled(self) -> bool:
        """Whether it needs no second one: all passed, or one failed by the model's doing alone."""
        failed = [check.name for check in self.checks if not check.passed]
        if self.lost is not None and self.lost.by_itself:
            failed.pop()  # the one that it was lost at
        return bool(set(failed) - {LATENCY}) or (self.lost is None and not failed)

    @property
    def problem(self) -> str:
        """Why it is not settled."""
        if self.lost is not None:
            return str(self.lost)
        return next(check.sentence for check in self.checks if not check.passed)

    def blames_like(self, other: _Attempt) -> bool:
        """Whether both servers ended by themselves at the same question."""
        return (
            self.lost is not None
            and other.lost is not None
            and self.lost.by_itself
            and other.lost.by_itself
            and self.checks[-1].name == other.checks[-1].name
        )


def check_model(
    model_directory: Path,
    sample: Sample,
    bounds: Bounds,
    *,
    model_server: str | None,
    timeouts: Timeouts,
) -> tuple[Check, ...]:
    """Serves the model, asks it everything, and stops the server.

    Args:
      model_directory: of the SavedModel.
      sample: what it is asked about.
      bounds: what it may take.
      model_server: path of tensorflow_model_server; None for TensorFlow's loader.
      timeouts: how long is waited.

    Returns:
      The checks; only those up to the one at which the model ended its server, if it did.

    Raises:
      NotChecked: the checks could not be made, for a reason that says nothing about the model.
    """
    served = functools.partial(serve, model_server=model_server, timeouts=timeouts)
    try:
        return judge(served, model_directory, sample, bounds)
    except OSError as error:
        raise _not_checked(str(error)) from error


def judge(
    served: Serve, model_directory: Path, sample: Sample, bounds: Bounds
) -> tuple[Check, ...]:
    """As `check_model`, by any way to serve a model.

    Args:
      served: a context in which a fresh server has loaded the model of that directory.
      model_directory: see there, as `sample` and `bounds`.
      sample: see there.
      bounds: see there.
    """
    attempt = functools.partial(_attempt, served, model_directory, sample, bounds)
    first = attempt()
    if first.settled:
        return first.checks
    _log.warning("asking a fresh server again, since %s", first.problem)
    second = attempt()
    if second.settled:
        return second.checks
    if second.lost is not None and not second.blames_like(first):
        raise _not_checked(f"{first.problem}; then {second.problem}")
    _require_sound_machine(served, None if second.lost else bounds.max_p99_latency_ms)
    return second.checks


def _attempt(served: Serve, model_directory: Path, sample: Sample, bounds: Bounds) -> _Attempt:
    checks: list[Check] = []
    try:
        for check in _ask(served, model_directory, sample, bounds):
            checks.append(check)
    except ServerLost as lost:
        return _Attempt(tuple(checks), lost)
    return _Attempt(tuple(checks), None)


def _ask(served: Serve, model_directory: Path, sample: Sample, bounds: Bounds) -> Iterator[Check]:
    """The checks in their order; the one at which the model ended its server is a failed one.

    Raises:
      ServerLost: there are no more.
    """
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(served(model_directory))
        except ServerLost as reason:
            if reason.by_itself:
                sentence = f"the exported model cannot be served: {reason}; {REMEDY}"
                yield Check(_LOAD, False, str(reason), None, sentence)
            raise
        sentence = f"{server.name} loaded the exported model in {server.start_s:.1f} s"
        yield Check(_LOAD, True, server.start_s, None, sentence)
        yield from ask_all(server, sample, bounds)


def _require_sound_machine(served: Serve, max_p99_latency_ms: float | None) -> None:
    """Serves a trivial model as the candidate was served.

    Args:
      served: serves a model.
      max_p99_latency_ms: what its answers may take; None for any time.

    Raises:
      NotChecked: that went no better.
    """
    numbers = {"x": np.arange(3, dtype=np.float32)}
    with tempfile.TemporaryDirectory(prefix=PREFIX) as directory:
        _export_trivial(directory)
        try:
            with served(Path(directory)) as server:
                for ask in server.apis.values():
                    answer = ask(SERVING_DEFAULT, numbers)
                    if not np.array_equal(answer.get("y", ()), 2 * numbers["x"]):
                        raise BadAnswer(f"it answers {answer}")
                    if max_p99_latency_ms is not None:
                        found_ms = p99_ms(ask, SERVING_DEFAULT, [numbers] * LATENCY_REQUESTS)
                        _require_fast(found_ms, max_p99_latency_ms)
        except ServingError as reason:
            raise _not_checked(f"a trivial model cannot be served either: {reason}") from None


def _export_trivial(directory: str) -> None:
    module = tf.Module()
    spec = tf.TensorSpec([None], tf.float32)
    # AutoGraph, which a doubling does not need, leaves a file behind.
    module.double = tf.function(lambda x: {"y": 2 * x}, input_signature=[spec], autograph=False)
    tf.saved_model.save(module, directory, {SERVING_DEFAULT: module.double})


def _require_fast(found_ms: float, bound_ms: float) -> None:
    if found_ms > bound_ms:
        raise NotChecked(
            "the latency could not be judged, which says nothing about the model: a trivial one "
            f"takes {found_ms:.1f} ms here, allowed are {bound_ms:g} ms; run the same command "
            "again when the machine is idle, or set serving.max_p99_latency_ms"
        )


def _not_checked(why: str) -> NotChecked:
    return NotChecked(
        f"the model could not be served, which says nothing about the model: {why}; {_REMEDY}"
    )
