"""A good model passes every check; each way to be bad fails its own."""

import collections
import dataclasses
import itertools
import re

import numpy as np
import pytest

from components.serving_check.asked_images import not_png, other_size
from components.serving_check.contract import RequestFailed, Server, ServerLost
from components.serving_check.questions import (
    AGREEMENT,
    BATCH,
    LATENCY_REQUESTS,
    ask_all,
)
from tests.components.serving_check.asking import BOUNDS, NAMES, TIMEOUTS, altered, check, failed
from tests.trainer.samples import SPEC
from trainer import features


def test_a_good_model_passes_every_check_and_leaves_nothing(nothing_left, sample):
    checks = check(nothing_left, sample)
    assert [check.name for check in checks] == ["serving.load", *NAMES]
    assert failed(checks) == {}
    numbers = {check.name: (check.actual, check.required) for check in checks}
    assert 0.0 < numbers["serving.load"][0] < TIMEOUTS.start_s
    assert 0.0 <= numbers["serving.agreement"][0] < 1e-6
    assert 0.0 < numbers["serving.latency"][0] < numbers["serving.latency"][1] == 5_000.0
    assert 100.0 < numbers["serving.memory"][0] < numbers["serving.memory"][1] == 2_048.0


def test_a_missing_signature_is_named(without_pixels, sample, few_requests):
    checks = check(without_pixels, sample)
    # The weights are others too, but what is asked first is said first.
    wrong = failed(checks)["serving.signature.predict_pixels"]
    assert "no signature 'predict_pixels', the model has serving_default" in wrong.sentence
    assert wrong.required == "probabilities, class_name, class_index"


def test_other_weights_than_the_evaluated_ones_do_not_agree(remembering, another_models_sample):
    (wrong,) = failed(ask_all(remembering, another_models_sample, BOUNDS)).values()
    assert wrong.name == "serving.agreement"
    assert wrong.actual > 100 * AGREEMENT == 100 * wrong.required
    assert (
        "what was exported is not what was evaluated; run again with --no-cache" in wrong.sentence
    )


@pytest.mark.parametrize(("shift", "agrees"), [(0.5 * AGREEMENT, True), (2 * AGREEMENT, False)])
def test_probabilities_agree_to_rounding(remembering, sample, shift, agrees):
    shifted = dataclasses.replace(sample, probabilities=sample.probabilities + np.float32(shift))
    assert ("serving.agreement" in failed(ask_all(remembering, shifted, BOUNDS))) is not agrees


def test_each_signature_is_held_to_the_evaluated_predictions(remembering, sample):
    def pixels_are_mixed_up(signature, inputs, answer):
        if signature == features.PREDICT_PIXELS:
            return {name: np.roll(value, 1, axis=0) for name, value in answer.items()}
        return answer

    (wrong,) = failed(ask_all(altered(remembering, pixels_are_mixed_up), sample, BOUNDS)).values()
    assert wrong.name == "serving.agreement"
    assert "predict_pixels over a pipe differs most" in wrong.sentence


def test_another_class_does_not_agree_however_near_it_is(remembering, sample):
    tied = np.array([0.25, 0.25, 0.25 + AGREEMENT / 10, 0.25 - AGREEMENT / 10], np.float32)
    sample = dataclasses.replace(sample, probabilities=np.tile(np.roll(tied, 1), (len(sample), 1)))

    def all_are_cats(signature, inputs, answer):
        if signature == features.TRANSFORM_FEATURES:
            return answer
        rows = len(answer["class_index"])
        return {
            "probabilities": np.tile(tied, (rows, 1)),
            "class_name": np.array([b"cat"] * rows, object),
            "class_index": np.full(rows, 2),
        }

    (wrong,) = failed(ask_all(altered(remembering, all_are_cats), sample, BOUNDS)).values()
    assert wrong.name == "serving.agreement"
    assert wrong.actual < AGREEMENT
    assert "96 answers of 96 name another class" in wrong.sentence  # 3 signatures, 32 images


def test_a_wrong_label_fails_its_signature(remembering, sample):
    wrong = dataclasses.replace(sample, labels=(sample.labels + 1) % 4)
    assert list(failed(ask_all(remembering, wrong, BOUNDS))) == [
        "serving.signature.transform_features"
    ]


def test_a_batch_that_is_refused_fails_its_check(remembering, sample):
    def small_batches_only(signature, inputs, answer):
        if len(answer.get("class_index", ())) == BATCH:
            raise RequestFailed("too large")
        return answer

    (wrong,) = failed(ask_all(altered(remembering, small_batches_only), sample, BOUNDS)).values()
    assert wrong.name == "serving.batch"
    assert wrong.sentence.startswith("128 images in one request: too large, expected an answer; ")


def test_large_images_are_asked_about_in_smaller_requests(remembering, sample, monkeypatch):
    largest = sorted(map(len, sample.images))[-1]
    monkeypatch.setattr("components.serving_check.questions.BATCH_BYTES", 5 * largest)
    sent = collections.defaultdict(list)

    def remembered(signature, inputs, answer):
        sent[signature].append(sum(memoryview(one).nbytes for one in next(iter(inputs.values()))))
        return answer

    checks = list(ask_all(altered(remembering, remembered), sample, BOUNDS))
    assert failed(checks) == {}
    (batch,) = (check for check in checks if check.name == "serving.batch")
    assert re.match("one request with [5-9] images is answered", batch.sentence)
    for signature in (features.SERVING_DEFAULT, features.SERVING_EXAMPLES, features.PREDICT_PIXELS):
        assert max(sent[signature]) <= 5 * largest


def test_an_image_that_is_larger_than_a_request_should_be_is_asked_about_alone(
    remembering, sample, monkeypatch
):
    monkeypatch.setattr("components.serving_check.questions.BATCH_BYTES", 1)
    rows = set()

    def remembered(signature, inputs, answer):
        rows.update(len(value) for value in inputs.values())
        return answer

    assert failed(ask_all(altered(remembering, remembered), sample, BOUNDS)) == {}
    assert rows == {1}


@pytest.mark.parametrize(
    ("bounds", "name", "key"),
    [
        (dataclasses.replace(BOUNDS, max_p99_latency_ms=0.0), "latency", "max_p99_latency_ms"),
        (dataclasses.replace(BOUNDS, max_memory_mib=1.0), "memory", "max_memory_mib"),
    ],
)
def test_a_bound_that_is_missed_fails_its_check(remembering, sample, bounds, name, key):
    (wrong,) = failed(ask_all(remembering, sample, bounds)).values()
    assert wrong.name == f"serving.{name}"
    assert wrong.actual > wrong.required
    assert f"set serving.{key}" in wrong.sentence


@pytest.mark.parametrize(
    ("slow", "slow_rounds", "asked", "fails"),
    [
        (1, {0, 1, 2}, 2, False),
        (2, {0, 1}, 2, True),
        (2, {0}, 3, False),
        (2, {1}, 3, False),
        (2, {0, 2}, 3, True),
        (2, {2}, 2, False),
    ],
)
def test_one_of_a_hundred_requests_may_be_slow_or_all_of_one_round(
    remembering, sample, clock, slow, slow_rounds, asked, fails
):
    """The 99th percentile by nearest rank is the 99th of 100; of three rounds two decide."""
    requests = itertools.count()

    def slow_ones(signature, inputs, answer):
        alone = signature == features.SERVING_DEFAULT and len(answer["class_index"]) == 1
        if alone and next(requests) in slow_requests:
            clock.now_s += 0.25
        return answer

    assert LATENCY_REQUESTS == 100
    # Before these, two are sent alone: by `serving.single` and by `serving.agreement`.
    slow_requests = {50 + 100 * turn + number for turn in slow_rounds for number in range(slow)}
    bounds = dataclasses.replace(BOUNDS, max_p99_latency_ms=200.0)
    assert bool(failed(ask_all(altered(remembering, slow_ones), sample, bounds))) is fails
    # After them one is sent alone after each of five refusals.
    assert next(requests) == 2 + 100 * asked + 5


def test_a_bad_image_that_is_answered_fails_its_check(remembering, sample):
    good = remembering.ask(
        features.SERVING_DEFAULT, sample.inputs(features.SERVING_DEFAULT, np.array([0]))
    )

    def never_refuses(signature, inputs):
        try:
            return remembering.ask(signature, inputs)
        except RequestFailed:
            return good

    server = dataclasses.replace(remembering, ask=never_refuses)
    wrong = failed(ask_all(server, sample, BOUNDS))
    assert list(wrong) == ["serving.wrong_size", "serving.not_png"]
    assert wrong["serving.wrong_size"].sentence.startswith(
        "an image of 13x11x3: serving_default over a pipe answered it, expected a refusal, "
    )


ROW = np.array([0.7, 0.1, 0.1, 0.1], np.float32)


def resizing(*, refuses: bool = True, apart: dict[str, float] | None = None) -> Server:
    """Serves a model that takes all sizes, and gives each image the same answer.

    Its signatures may answer `apart` where an image has another size than the evaluated ones.
    """
    other, no_image = other_size(SPEC), not_png()

    def asked_by(requests, signature, values) -> bool:
        (expected,) = requests.get(signature, {"": np.empty(0)}).values()
        return np.array_equal(values, expected)

    def ask(signature, inputs):
        (values,) = inputs.values()
        rows = len(values)
        if refuses and asked_by(no_image, signature, values):
            raise RequestFailed("no image")
        if signature == features.TRANSFORM_FEATURES:
            return {"one_hot_label": np.eye(4)[[0] * rows]}
        answer = np.tile(ROW, (rows, 1))
        if asked_by(other, signature, values):
            answer[:, :2] += np.array([1, -1]) * (apart or {}).get(signature, 0.0)
        names = np.array([SPEC.class_names[0].encode()] * rows, object)
        return {"probabilities": answer, "class_name": names, "class_index": np.zeros(rows, int)}

    return Server("a stand-in", "a pipe", ask, start_s=0.0, peak_memory_mib=lambda: 1.0)


@pytest.fixture
def of_any_size(sample):
    return dataclasses.replace(
        sample,
        labels=np.zeros_like(sample.labels),
        probabilities=np.tile(ROW, (len(sample), 1)),
        spec=dataclasses.replace(SPEC, resize="pad"),
    )


@pytest.mark.parametrize("signature", [features.SERVING_DEFAULT, features.PREDICT_PIXELS])
@pytest.mark.parametrize(("difference", "agrees"), [(0.5, True), (2.0, False)])
def test_an_image_of_another_size_has_the_same_answer_from_each_signature(
    of_any_size, signature, difference, agrees
):
    server = resizing(apart={signature: difference * AGREEMENT})
    checks = list(ask_all(server, of_any_size, BOUNDS))
    assert [check.name for check in checks[-3:]] == [
        *("serving.other_size", "serving.no_image", "serving.memory"),
    ]
    assert list(failed(checks)) == ([] if agrees else ["serving.other_size"])


def test_what_is_no_image_is_refused_by_a_model_of_all_sizes_too(of_any_size):
    wrong = failed(ask_all(resizing(refuses=False), of_any_size, BOUNDS))
    assert list(wrong) == ["serving.no_image"]


@pytest.mark.parametrize("by_itself", [True, False])
def test_once_the_server_is_lost_nothing_more_is_asked(remembering, sample, by_itself):
    def dies_on_a_batch(signature, inputs, answer):
        if len(answer.get("class_index", ())) == BATCH:
            raise ServerLost("the server ended with SIGSEGV", by_itself=by_itself)
        return answer

    checks = []
    with pytest.raises(ServerLost, match="SIGSEGV"):
        checks.extend(ask_all(altered(remembering, dies_on_a_batch), sample, BOUNDS))
    asked = (
        NAMES.index("serving.batch") + by_itself
    )  # a failed check only where it may be its doing
    assert [check.name for check in checks] == NAMES[:asked]
    assert list(failed(checks)) == ["serving.batch"] * by_itself
