"""TensorFlow's loader in a process of its own."""

import socket
import subprocess

import numpy as np
import pytest

from components.serving_check import messages, tensorflow_loader
from components.serving_check.contract import RequestFailed, ServerLost, Timeouts
from components.serving_check.loader import PIPE, serve_with_loader
from components.serving_check.sample import not_png
from tests.components.serving_check.asking import TIMEOUTS
from tests.pipeline.saved_models import images, save_function, without_end
from trainer import features
from trainer.host.children import python_child


def test_a_request_that_fails_does_not_end_it(loader, sample):
    ask, good = loader.apis[PIPE], sample.images.inputs(features.SERVING_DEFAULT)
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
        loader.apis[PIPE]("other", {})


def test_a_model_that_is_not_loaded_in_time_is_lost(nothing_left):
    with (
        pytest.raises(ServerLost, match=r"^no answer within 0\.01 s"),
        serve_with_loader(nothing_left, Timeouts(start_s=0.01)),
    ):
        pass


def test_a_request_that_there_is_no_memory_for_says_nothing_about_the_model(tmp_path):
    large = save_function(tmp_path / "large", without_end, images(2))
    request = {"images": np.zeros((1, 2), np.uint8)}
    with serve_with_loader(large, TIMEOUTS) as server:
        with pytest.raises(ServerLost, match="ResourceExhaustedError: ") as lost:
            server.apis[PIPE](features.SERVING_DEFAULT, request)
        assert not lost.value.by_itself


def test_it_ends_with_the_connection(exported):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = python_child(tensorflow_loader.__name__, str(exported), str(theirs.fileno()))
        process = subprocess.Popen(
            child.command,
            env=child.environment,
            pass_fds=[theirs.fileno()],
            stderr=subprocess.DEVNULL,
        )
        theirs.close()
        assert messages.receive(ours, seconds=60) == (tensorflow_loader.ANSWERED, {})
    assert process.wait(timeout=20) == 0
