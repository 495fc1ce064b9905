"""Whose fault it is: servers that are lost or slow in a given order, of a model that is good."""

import contextlib
import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.gate.check import NotChecked
from components.serving_check.contract import Server, ServerLost
from components.serving_check.questions import LATENCY_REQUESTS
from components.serving_check.verdict import check_served
from tests.components.serving_check.asking import BOUNDS, NAMES, altered, check, failed
from tests.refusals import refusal_of
from trainer import features

CRASH = ServerLost("the server ended with SIGSEGV", by_itself=True)
KILL = ServerLost("the server ended with SIGKILL")


def raises(error: Exception):
    def alter(signature, inputs, answer):
        raise error

    return alter


def raises_at(asked: str, error: Exception):
    def alter(signature, inputs, answer):
        if signature == asked:
            raise error
        return answer

    return alter


def as_it_is(signature, inputs, answer):
    return answer


def slow_at_times(clock):
    """Of 100 requests for one image four take 0.25 s, all others no time."""
    asked = {"alone": 0}

    def alter(signature, inputs, answer):
        if len(answer.get("class_index", answer.get("y", ()))) in (1, 3):
            asked["alone"] += 1
            if asked["alone"] % (LATENCY_REQUESTS // 4) == 0:
                clock.now_s += 0.25
        return answer

    return alter


def loaded(directory):
    """Asks a model in this process."""
    signatures = tf.saved_model.load(str(directory)).signatures

    def ask(signature, inputs):
        given = {name: tf.constant(value) for name, value in inputs.items()}
        return {name: value.numpy() for name, value in signatures[signature](**given).items()}

    return ask


class Servers:
    """Serves the candidate, each time the next one of `turns`, and other models by `trivial`."""

    def __init__(self, loader: Server, candidate: Path, turns, trivial) -> None:
        self._loader, self._candidate = loader, candidate
        self._turns, self._trivial = iter(turns), trivial
        self.trivial_served = 0

    @contextlib.contextmanager
    def __call__(self, directory: Path):
        if directory == self._candidate:
            yield altered(self._loader, next(self._turns))
        else:
            self.trivial_served += 1
            yield altered(dataclasses.replace(self._loader, ask=loaded(directory)), self._trivial)


@pytest.fixture
def ask(remembering, exported, sample):
    """Judges the candidate; (its checks, the servers)."""

    def judged(*turns, trivial=as_it_is, bounds=BOUNDS):
        servers = Servers(remembering, exported, turns, trivial)
        return check_served(servers, exported, sample, bounds), servers

    return judged


@pytest.mark.parametrize("once", [raises(CRASH), raises(KILL)])
def test_what_is_lost_once_is_asked_again(ask, once):
    checks, servers = ask(once, as_it_is)
    assert [check.name for check in checks] == ["serving.load", *NAMES]
    assert failed(checks) == {}
    assert servers.trivial_served == 0


def test_a_crash_at_the_same_question_twice_is_the_models_fault(ask):
    crash = raises_at(features.PREDICT_PIXELS, CRASH)
    checks, servers = ask(crash, crash)
    (wrong,) = failed(checks).values()
    assert wrong.name == "serving.signature.predict_pixels" == checks[-1].name
    assert "the server ended with SIGSEGV" in wrong.sentence
    assert servers.trivial_served == 1


@pytest.mark.parametrize(
    "turns",
    [
        (raises(KILL), raises(KILL)),
        (raises(CRASH), raises(KILL)),
        (raises(KILL), raises(CRASH)),
        # At two different questions.
        (raises(CRASH), raises_at(features.TRANSFORM_FEATURES, CRASH)),
    ],
)
def test_any_other_loss_leaves_the_checks_unmade(ask, turns):
    with pytest.raises(NotChecked, match="could not be served, which says nothing about the model"):
        ask(*turns)


def test_a_server_that_is_lost_while_it_loads_leaves_the_checks_unmade(exported, sample):
    @contextlib.contextmanager
    def lost(directory):
        raise KILL
        yield

    with pytest.raises(NotChecked, match="could not be served, which says nothing about the model"):
        check_served(lost, exported, sample, BOUNDS)


def test_a_server_that_crashes_with_a_trivial_model_too_leaves_the_checks_unmade(ask):
    with pytest.raises(NotChecked, match="a trivial model cannot be served either: the server end"):
        ask(raises(CRASH), raises(CRASH), trivial=raises(CRASH))


def test_a_server_that_answers_a_trivial_model_wrong_leaves_the_checks_unmade(ask):
    def wrong(signature, inputs, answer):
        return {"y": np.zeros(3)}

    with pytest.raises(NotChecked, match="a trivial model cannot be served either: it answers"):
        ask(raises(CRASH), raises(CRASH), trivial=wrong)


def test_what_another_check_refuses_is_refused_at_once(
    another_models_sample, remembering, exported
):
    servers = Servers(remembering, exported, [as_it_is], as_it_is)
    checks = check_served(servers, exported, another_models_sample, BOUNDS)
    assert list(failed(checks)) == ["serving.agreement"]
    assert servers.trivial_served == 0


def test_a_latency_that_is_missed_once_is_measured_again(ask, clock):
    bounds = dataclasses.replace(BOUNDS, max_p99_latency_ms=200.0)
    checks, servers = ask(slow_at_times(clock), as_it_is, bounds=bounds)
    assert failed(checks) == {}
    assert servers.trivial_served == 0


def test_a_latency_that_is_missed_twice_is_the_models_fault_where_a_trivial_one_keeps_it(
    ask, clock
):
    bounds = dataclasses.replace(BOUNDS, max_p99_latency_ms=200.0)
    checks, servers = ask(slow_at_times(clock), slow_at_times(clock), bounds=bounds)
    assert list(failed(checks)) == ["serving.latency"]
    assert servers.trivial_served == 1


def test_a_latency_that_a_trivial_model_misses_too_is_not_judged(ask):
    bounds = dataclasses.replace(BOUNDS, max_p99_latency_ms=0.0)
    assert re.fullmatch(
        r"the latency could not be judged, which says nothing about the model: a trivial one takes "
        r"\d+\.\d ms here; the bound is 0 ms; run the same command again when the machine is idle, "
        r"or set serving\.max_p99_latency_ms",
        refusal_of(NotChecked, ask, as_it_is, as_it_is, bounds=bounds),
    )


def test_a_model_that_cannot_be_loaded_is_refused(truncated, nothing_left, sample):
    (load,) = check(truncated, sample)
    assert (load.name, load.passed) == ("serving.load", False)
    assert load.sentence.startswith("the exported model cannot be served: ")
    assert "Read less bytes than requested" in load.actual
    assert "\n" not in load.sentence


def test_a_full_disk_leaves_the_checks_unmade(exported, sample, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/proc")  # where nobody can make a directory
    with pytest.raises(
        NotChecked, match=r"'/proc/serving-check-.*the same command makes the check"
    ):
        check(exported, sample)
