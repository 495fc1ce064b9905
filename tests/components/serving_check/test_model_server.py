"""tensorflow_model_server as far as it can be tried without the real one: see `stand_in`."""

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.serving_check.checks import ask_all, check_model
from components.serving_check.contract import Server, Timeouts
from components.serving_check.model_server import (
    GRPC,
    REST,
    find_model_server,
    serve_with_model_server,
)
from tests.components.serving_check import stand_in
from tests.components.serving_check.asking import BOUNDS, NAMES, TIMEOUTS, failed


@pytest.fixture(scope="module")
def binary(tmp_path_factory) -> str:
    """An executable named as the real one."""
    path = tmp_path_factory.mktemp("bin") / "tensorflow_model_server"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{stand_in.__file__}" "$@"\n')
    path.chmod(0o755)
    return str(path)


@pytest.fixture(scope="module")
def misbehaviour(tmp_path_factory) -> Iterator[Path]:
    """What is written here, the servers do; each test that writes clears it."""
    path = tmp_path_factory.mktemp("misbehaviour") / "how"
    path.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STAND_IN_MISBEHAVIOUR", str(path))
        yield path


@pytest.fixture
def misbehave(misbehaviour):
    yield misbehaviour.write_text
    misbehaviour.write_text("")


@pytest.fixture(scope="module")
def server(binary, misbehaviour, exported) -> Iterator[Server]:
    timeouts = Timeouts(start_s=60.0, request_s=2.0)
    with serve_with_model_server(binary, exported, timeouts) as running:
        yield running


def test_a_good_model_passes_every_check_over_both_apis(server, sample):
    checks = ask_all(server, sample, BOUNDS)
    assert list(server.apis) == [GRPC, REST]
    assert [check.name for check in checks] == NAMES
    assert failed(checks) == {}
    assert {check.name: check for check in checks}["serving.agreement"].actual < 1e-6
    assert all("over gRPC and REST" in check.sentence for check in checks[:6])


def test_answers_of_another_model_do_not_agree(server, sample, misbehave):
    misbehave(stand_in.ANOTHER_MODEL)
    assert list(failed(ask_all(server, sample, BOUNDS))) == ["serving.agreement"]


def test_a_slow_server_fails_the_latency(server, sample, misbehave):
    misbehave(stand_in.SLOW)
    bounds = dataclasses.replace(BOUNDS, max_p99_latency_ms=1e3 * stand_in.SLOW_S)
    assert list(failed(ask_all(server, sample, bounds))) == ["serving.latency"]


def test_a_body_that_is_no_json_is_a_bad_answer(server, sample, misbehave):
    misbehave(stand_in.NO_JSON)
    checks = failed(ask_all(server, sample, BOUNDS))
    assert len(checks) == len(NAMES) - 1  # but the memory
    assert "REST 200, not as documented: JSONDecodeError" in checks["serving.single"].sentence


def test_a_server_that_hangs_is_lost(server, sample, misbehave):
    misbehave(stand_in.HANGS)
    (check,) = ask_all(server, sample, BOUNDS)
    assert "no answer within 2 s, expected" in check.sentence


def test_a_server_that_dies_on_a_bad_image_fails_and_leaves_nothing(
    binary, nothing_left, sample, misbehave
):
    misbehave(stand_in.DIES_ON_A_BAD_REQUEST)
    checks = check_model(nothing_left, sample, BOUNDS, model_server=binary, timeouts=TIMEOUTS)
    assert [check.name for check in checks] == ["serving.load", *NAMES[:9]]
    (wrong,) = failed(checks).values()
    assert wrong.name == "serving.wrong_size"
    assert "the server ended with SIGABRT" in wrong.sentence


def test_a_model_that_cannot_be_loaded_says_why_and_leaves_nothing(
    binary, truncated, nothing_left, sample
):
    (load,) = check_model(truncated, sample, BOUNDS, model_server=binary, timeouts=TIMEOUTS)
    assert not load.passed
    assert "the server ended with exit status 255: Failed to start server." in load.sentence
    assert "did not become available" in load.sentence


def test_a_server_that_is_never_ready_is_lost_and_leaves_nothing(
    binary, nothing_left, sample, misbehave
):
    misbehave(stand_in.NEVER_READY)
    timeouts = Timeouts(start_s=0.5)
    (load,) = check_model(nothing_left, sample, BOUNDS, model_server=binary, timeouts=timeouts)
    assert not load.passed
    assert "not ready in time" in load.sentence


def test_it_is_looked_for_on_the_path_unless_it_is_given(binary, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_model_server("") is None
    assert find_model_server(binary) == binary
    monkeypatch.setenv("PATH", str(Path(binary).parent))
    assert find_model_server("") == binary


def test_a_given_one_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected the path of an executable tensorflow_mo"):
        find_model_server(str(tmp_path / "missing"))
