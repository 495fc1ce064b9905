"""TensorFlow's loader, and tensorflow_model_server: a `stand_in`, or the real one if its path is in
the environment as TENSORFLOW_MODEL_SERVER.
"""

import os
import re
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from components.gate.check import NotChecked
from components.serving_check import servers, tensorflow_loader
from components.serving_check.asked_images import not_png
from components.serving_check.contract import RequestFailed, Server, ServerLost, Timeouts
from components.serving_check.model_server import find_model_server
from components.serving_check.questions import ask_all
from components.serving_check.servers import serve
from tests.components.serving_check import stand_in
from tests.components.serving_check.asking import BOUNDS, NAMES, TIMEOUTS, check, failed
from tests.pipeline.saved_models import images, save_function, without_end
from tests.waiting import wait_until
from trainer import features

REAL = os.environ.get("TENSORFLOW_MODEL_SERVER")

# --- TensorFlow's loader -------------------------------------------------------------------------


def test_a_request_that_fails_does_not_end_it(loader, sample):
    ask, good = loader.ask, sample.inputs(features.SERVING_DEFAULT, np.arange(3))
    before = ask(features.SERVING_DEFAULT, good)
    for signature, inputs in (
        *not_png().items(),
        (features.PREDICT_PIXELS, {features.PIXELS_INPUT: np.zeros((1, 2, 2, 2, 2), np.uint8)}),
        (features.SERVING_DEFAULT, {"another input": np.zeros(1)}),
    ):
        with pytest.raises(RequestFailed):
            ask(signature, inputs)
    after = ask(features.SERVING_DEFAULT, good)
    np.testing.assert_array_equal(after["probabilities"], before["probabilities"])


def test_a_signature_that_is_missing_is_named(loader):
    with pytest.raises(RequestFailed, match="no signature 'other', the model has predict_pixels,"):
        loader.ask("other", {})


def test_a_model_that_is_not_loaded_in_time_is_lost(nothing_left):
    with (
        pytest.raises(ServerLost, match=r"^no answer within 0\.01 s$"),
        serve(nothing_left, None, Timeouts(start_s=0.01)),
    ):
        pass


def loaders() -> set[int]:
    children = psutil.Process().children()
    return {one.pid for one in children if tensorflow_loader.__name__ in one.cmdline()}


def test_a_loader_that_was_started_early_takes_the_next_model_and_says_how_it_ended(exported):
    before = loaders()
    servers.start_early("")
    servers.start_early("")
    # On a busy machine a process that has begun has no command line for a moment.
    wait_until(lambda: loaders() - before, timeout_s=60.0)
    (early,) = loaders() - before
    with serve(exported, None, TIMEOUTS) as server:
        assert loaders() - before == {early}
        servers.start_early("")
        wait_until(lambda: len(loaders() - before) == 2, timeout_s=60.0)
        os.kill(early, signal.SIGSEGV)
        for _ in range(2):  # the first time it may get the request before it ends
            with pytest.raises(ServerLost, match="the server ended with SIGSEGV"):
                server.ask(features.SERVING_DEFAULT, {})
    servers.end_early()
    assert loaders() == before


def test_no_loader_is_started_early_where_another_server_is_given(tmp_path):
    before = loaders()
    for given in (sys.executable, str(tmp_path / "removed since")):
        servers.start_early(given)
    assert loaders() == before


def test_a_request_that_there_is_no_memory_for_says_nothing_about_the_model(tmp_path, monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")  # with it the allocator tries for 10 s
    large = save_function(tmp_path / "large", without_end, images(2))
    request = {"images": np.zeros((1, 2), np.uint8)}
    with serve(large, None, TIMEOUTS) as server:
        with pytest.raises(ServerLost, match="ResourceExhaustedError: ") as lost:
            server.ask(features.SERVING_DEFAULT, request)
        assert not lost.value.by_itself


# --- tensorflow_model_server ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def binary(tmp_path_factory) -> str:
    """The real one, or an executable of its name."""
    if REAL:
        return REAL
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
    if REAL:
        pytest.skip("the real server cannot be told to misbehave")
    yield misbehaviour.write_text
    misbehaviour.write_text("")


@pytest.fixture(scope="module")
def server(binary, misbehaviour, exported) -> Iterator[Server]:
    with serve(exported, binary, Timeouts(start_s=300.0, request_s=60.0)) as running:
        yield running


def test_a_good_model_passes_every_check(server, sample):
    checks = tuple(ask_all(server, sample, BOUNDS))
    assert [check.name for check in checks] == NAMES
    assert failed(checks) == {}
    assert {check.name: check for check in checks}["serving.agreement"].actual < 1e-6
    assert all("over gRPC" in check.sentence for check in checks[:6])


def test_it_listens_on_no_port_and_in_a_directory_of_this_user_alone(server):
    (process,) = (
        child
        for child in psutil.Process().children(recursive=True)
        if any(word.startswith("--grpc_socket_path=") for word in child.cmdline())
    )
    listening = {
        connection.laddr
        for connection in process.net_connections("all")
        if connection.status in (psutil.CONN_LISTEN, psutil.CONN_NONE) and connection.laddr
    }
    (address,) = (Path(one) for one in listening)
    assert address.name == "grpc"
    assert stat.S_IMODE(address.parent.stat().st_mode) == 0o700


def test_answers_of_another_model_do_not_agree(server, sample, misbehave, few_requests):
    misbehave(stand_in.ANOTHER_MODEL)
    assert list(failed(ask_all(server, sample, BOUNDS))) == ["serving.agreement"]


def test_an_answer_may_be_longer_than_the_4_mib_that_grpc_takes_by_itself(
    server, sample, misbehave
):
    misbehave(stand_in.ANSWERS_AT_LENGTH)
    inputs = sample.inputs(features.SERVING_DEFAULT, np.arange(1))
    assert server.ask(features.SERVING_DEFAULT, inputs)["probabilities"].nbytes == 5_120_000


@pytest.mark.parametrize(
    ("how", "timeout_s", "reason"),
    [
        (stand_in.EXHAUSTED, 60.0, "gRPC RESOURCE_EXHAUSTED: OOM when allocating tensor"),
        (stand_in.HANGS, 2.0, "no answer within 2 s"),
    ],
)
def test_no_answer_says_nothing_about_the_model(
    server, sample, misbehave, how, timeout_s, reason, monkeypatch
):
    misbehave(how)
    monkeypatch.setattr(server.ask, "_timeout_s", timeout_s)
    with pytest.raises(ServerLost) as lost:
        list(ask_all(server, sample, BOUNDS))
    assert (str(lost.value), lost.value.by_itself) == (reason, False)


@pytest.mark.once  # the server stands in for the real one
def test_a_server_that_dies_on_a_bad_image_fails_and_leaves_nothing(
    binary, nothing_left, sample, misbehave, few_requests
):
    misbehave(stand_in.DIES_ON_A_BAD_REQUEST)
    checks = check(nothing_left, sample, model_server=binary)
    assert [check.name for check in checks] == ["serving.load", *NAMES[:9]]
    (wrong,) = failed(checks).values()
    assert wrong.name == "serving.wrong_size"
    assert "the server ended with SIGABRT" in wrong.sentence


@pytest.mark.once  # test_verdict.py has the error of TensorFlow
def test_a_model_that_cannot_be_loaded_says_why(binary, truncated):
    with (
        pytest.raises(
            ServerLost, match="the server ended with exit status 255: Failed to start serv"
        ) as lost,
        serve(truncated, binary, TIMEOUTS),
    ):
        pass
    assert "did not become available" in str(lost.value)
    assert lost.value.by_itself


def test_a_server_that_is_never_ready_leaves_the_checks_unmade(
    binary, nothing_left, sample, misbehave
):
    misbehave(stand_in.NEVER_READY)
    timeouts = Timeouts(start_s=0.5)
    with pytest.raises(NotChecked, match="not ready in time"):
        check(nothing_left, sample, model_server=binary, timeouts=timeouts)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "echo libstdc++ is missing; exit 127",
            "a trivial model cannot be served either: the server ended with exit status 127: "
            "libstdc++ is missing; see that the machine has memory",
        ),
        ("kill -KILL $$", "the server ended with SIGKILL; then the server ended with SIGKILL; see"),
    ],
)
def test_a_server_that_serves_nothing_leaves_the_checks_unmade(
    nothing_left, tmp_path, sample, script, reason
):
    broken = tmp_path / "tensorflow_model_server"
    broken.write_text(f"#!/bin/sh\n{script}\n")
    broken.chmod(0o755)
    what = "the model could not be served, which says nothing about the model: "
    with pytest.raises(NotChecked, match=re.escape(what + reason)):
        check(nothing_left, sample, model_server=str(broken))


def test_a_socket_whose_path_is_too_long_is_said(binary, exported, sample, tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(NotChecked, match="let TMPDIR name a directory with a shorter path"):
        check(exported, sample, model_server=binary)
    assert list(deep.iterdir()) == []


def test_it_is_looked_for_on_the_path_unless_it_is_given(binary, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_model_server("") is None
    assert find_model_server(binary) == binary
    monkeypatch.setenv("PATH", str(Path(binary).parent))
    assert find_model_server("") == binary


def test_a_given_one_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected the path of an executable tensorflow_mo"):
        find_model_server(str(tmp_path / "missing"))
