"""A good model passes every check; each way to be bad fails its own."""

import dataclasses
import itertools
import time
from collections.abc import Callable

import numpy as np
import pytest

from components.serving_check.checks import (
    AGREEMENT,
    BATCH,
    LATENCY_REQUESTS,
    ask_all,
    check_model,
)
from components.serving_check.contract import RequestFailed, Server, ServerLost, Tensors
from tests.components.serving_check.asking import BOUNDS, NAMES, TIMEOUTS, failed
from trainer import features


def altered(server: Server, alter: Callable[[str, Tensors, Tensors], Tensors]) -> Server:
    """The server, but `alter` gets (signature, inputs, answer) and says what is answered."""

    def wrap(ask):
        return lambda signature, inputs: alter(signature, inputs, ask(signature, inputs))

    return dataclasses.replace(server, apis={name: wrap(ask) for name, ask in server.apis.items()})


def test_a_good_model_passes_every_check_and_leaves_nothing(nothing_left, sample):
    checks = check_model(nothing_left, sample, BOUNDS, model_server=None, timeouts=TIMEOUTS)
    assert [check.name for check in checks] == ["serving.load", *NAMES]
    assert failed(checks) == {}
    numbers = {check.name: (check.actual, check.required) for check in checks}
    assert 0.0 < numbers["serving.load"][0] < numbers["serving.load"][1] == TIMEOUTS.start_s
    assert 0.0 <= numbers["serving.agreement"][0] < 1e-6
    assert 0.0 < numbers["serving.latency"][0] < numbers["serving.latency"][1] == 5_000.0
    assert 100.0 < numbers["serving.memory"][0] < numbers["serving.memory"][1] == 2_048.0


def test_a_model_that_cannot_be_loaded_is_asked_nothing(truncated, nothing_left, sample):
    checks = check_model(truncated, sample, BOUNDS, model_server=None, timeouts=TIMEOUTS)
    (load,) = checks
    assert (load.name, load.passed) == ("serving.load", False)
    assert load.sentence.startswith("the exported model cannot be served: ")
    assert "Read less bytes than requested" in load.actual
    assert "\n" not in load.sentence


def test_a_missing_signature_is_named(without_pixels, sample):
    checks = check_model(without_pixels, sample, BOUNDS, model_server=None, timeouts=TIMEOUTS)
    # The weights are others too, but what is asked first is said first.
    wrong = failed(checks)["serving.signature.predict_pixels"]
    assert "no signature 'predict_pixels', the model has serving_default" in wrong.sentence
    assert wrong.required == "probabilities, class_name, class_index"


def test_other_weights_than_the_evaluated_ones_do_not_agree(loader, another_models_sample):
    (wrong,) = failed(ask_all(loader, another_models_sample, BOUNDS)).values()
    assert wrong.name == "serving.agreement"
    assert wrong.actual > 100 * AGREEMENT == 100 * wrong.required
    assert (
        "what was exported is not what was evaluated; run again with --no-cache" in wrong.sentence
    )


@pytest.mark.parametrize(("shift", "agrees"), [(0.5 * AGREEMENT, True), (2 * AGREEMENT, False)])
def test_probabilities_agree_to_rounding(loader, sample, shift, agrees):
    shifted = dataclasses.replace(sample, probabilities=sample.probabilities + np.float32(shift))
    assert ("serving.agreement" in failed(ask_all(loader, shifted, BOUNDS))) is not agrees


def test_each_signature_is_held_to_the_evaluated_predictions(loader, sample):
    def pixels_are_mixed_up(signature, inputs, answer):
        if signature == features.PREDICT_PIXELS:
            return {name: np.roll(value, 1, axis=0) for name, value in answer.items()}
        return answer

    (wrong,) = failed(ask_all(altered(loader, pixels_are_mixed_up), sample, BOUNDS)).values()
    assert wrong.name == "serving.agreement"
    assert "predict_pixels over a pipe differs most" in wrong.sentence


def test_another_class_does_not_agree_however_near_it_is(loader, sample):
    tied = np.array([0.25, 0.25, 0.25 + AGREEMENT / 10, 0.25 - AGREEMENT / 10], np.float32)
    sample = dataclasses.replace(
        sample, probabilities=np.tile(np.roll(tied, 1), (len(sample.images), 1))
    )

    def all_are_cats(signature, inputs, answer):
        if signature == features.TRANSFORM_FEATURES:
            return answer
        rows = len(answer["class_index"])
        return {
            "probabilities": np.tile(tied, (rows, 1)),
            "class_name": np.array([b"cat"] * rows, object),
            "class_index": np.full(rows, 2),
        }

    (wrong,) = failed(ask_all(altered(loader, all_are_cats), sample, BOUNDS)).values()
    assert wrong.name == "serving.agreement"
    assert wrong.actual < AGREEMENT
    assert "96 answers of 96 name another class" in wrong.sentence  # 3 signatures, 32 images


def test_a_wrong_label_fails_its_signature(loader, sample):
    wrong = dataclasses.replace(sample, labels=(sample.labels + 1) % 4)
    assert list(failed(ask_all(loader, wrong, BOUNDS))) == ["serving.signature.transform_features"]


def test_a_batch_that_is_refused_fails_its_check(loader, sample):
    def small_batches_only(signature, inputs, answer):
        if len(answer.get("class_index", ())) == BATCH:
            raise RequestFailed("too large")
        return answer

    (wrong,) = failed(ask_all(altered(loader, small_batches_only), sample, BOUNDS)).values()
    assert wrong.name == "serving.batch"
    assert wrong.sentence.startswith("128 images in one request: too large, expected an answer; ")


@pytest.mark.parametrize(
    ("bounds", "name", "key"),
    [
        (dataclasses.replace(BOUNDS, max_p99_latency_ms=0.0), "latency", "max_p99_latency_ms"),
        (dataclasses.replace(BOUNDS, max_memory_mib=1.0), "memory", "max_memory_mib"),
    ],
)
def test_a_bound_that_is_missed_fails_its_check(loader, sample, bounds, name, key):
    (wrong,) = failed(ask_all(loader, sample, bounds)).values()
    assert wrong.name == f"serving.{name}"
    assert wrong.actual > wrong.required
    assert wrong.sentence.endswith(f"or set serving.{key}")


@pytest.mark.parametrize(("slow", "fails"), [(2, False), (3, True)])
def test_two_of_two_hundred_requests_may_be_slow(loader, sample, slow, fails):
    """The 99th percentile by nearest rank is the 198th of 200."""
    requests = itertools.count()

    def slow_ones(signature, inputs, answer):
        alone = signature == features.SERVING_DEFAULT and len(answer["class_index"]) == 1
        if alone and next(requests) in slow_requests:
            time.sleep(0.25)
        return answer

    assert LATENCY_REQUESTS == 200
    # Before these, two are sent alone: by `serving.single` and by `serving.agreement`.
    slow_requests = range(50, 50 + slow)
    bounds = dataclasses.replace(BOUNDS, max_p99_latency_ms=200.0)
    assert bool(failed(ask_all(altered(loader, slow_ones), sample, bounds))) is fails


def test_a_bad_image_that_is_answered_fails_its_check(loader, sample):
    good = loader.apis["a pipe"](
        features.SERVING_DEFAULT, sample.images.take(np.array([0])).inputs(features.SERVING_DEFAULT)
    )

    def never_refuses(ask):
        def forgiving(signature, inputs):
            try:
                return ask(signature, inputs)
            except RequestFailed:
                return good

        return forgiving

    server = dataclasses.replace(
        loader, apis={name: never_refuses(ask) for name, ask in loader.apis.items()}
    )
    wrong = failed(ask_all(server, sample, BOUNDS))
    assert list(wrong) == ["serving.wrong_size", "serving.not_png"]
    assert wrong["serving.wrong_size"].sentence.startswith(
        "an image of 13x11x3: serving_default over a pipe answered it, expected a refusal, "
    )


def test_once_the_server_is_lost_nothing_more_is_asked(loader, sample):
    def dies_on_a_batch(signature, inputs, answer):
        if len(answer.get("class_index", ())) == BATCH:
            raise ServerLost("the server ended with SIGSEGV")
        return answer

    checks = ask_all(altered(loader, dies_on_a_batch), sample, BOUNDS)
    assert [check.name for check in checks] == NAMES[: NAMES.index("serving.batch") + 1]
    assert list(failed(checks)) == ["serving.batch"]
    assert "the server ended with SIGSEGV" in checks[-1].sentence
