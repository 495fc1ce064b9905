"""Counts from arrays: by hand, and held against what the Evaluator's own metrics count."""

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2
from tfx.utils import path_utils

from components.evaluation import eval_config, gate_metrics
from components.evaluation.counting import count
from components.evaluation.saved_model import load
from components.gate.evidence import Evidence, Tally
from components.gate.slices import Bands
from tests.components.evaluated import BANDS, Setting
from tests.trainer.samples import SPEC
from trainer import features

CLASSES = ("ant", "bee", "cat")
NAN, INF = float("nan"), float("inf")

LABELS = np.array([0, 1, 2, 2])
CANDIDATE = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.5, 0.2, 0.3]])
BASELINE = np.array([[0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.1, 0.2, 0.7], [0.5, 0.3, 0.2]])


def counted(candidate: Any = CANDIDATE, baseline: Any = BASELINE, **changes: Any) -> Evidence:
    arguments = {"class_names": CLASSES, "slices": (), "numbers": {}, **changes}
    return count(LABELS, np.array(candidate), baseline=baseline, **arguments)


def test_each_image_is_right_or_wrong_by_its_most_probable_class() -> None:
    # The candidate is right on images 0 and 2, the baseline on 1 and 2.
    found = counted()
    assert found.overall == Tally(rows=4, correct=2, lost=1, gained=1)
    assert found.classes == {
        "ant": Tally(rows=1, correct=1, gained=1),
        "bee": Tally(rows=1, correct=0, lost=1),
        "cat": Tally(rows=2, correct=1),
    }
    assert found.compared


def test_each_label_is_confused_with_the_answers_that_it_got() -> None:
    assert counted().confusion == ((1, 0, 0), (1, 0, 0), (1, 0, 1))


def test_without_a_baseline_nothing_is_lost_or_gained() -> None:
    found = counted(baseline=None)
    assert found.overall == Tally(rows=4, correct=2)
    assert not found.compared


def test_cross_entropy_is_that_of_the_labels_probability() -> None:
    # -(ln 0.7 + ln 0.3 + ln 0.7 + ln 0.3) / 4
    assert counted().cross_entropy == pytest.approx(0.78032, abs=1e-5)


def test_the_label_may_be_the_second_most_probable_class() -> None:
    third = [[0.2, 0.5, 0.3], *CANDIDATE[1:]]
    assert (counted().top_2_accuracy, counted(third).top_2_accuracy) == (1.0, 0.75)


def test_a_slice_holds_the_values_from_its_lower_edge_on() -> None:
    cut = Bands("mean_intensity", (0.1, 0.2))
    values = np.array([0.1, 0.05, 0.2, 0.3], np.float32)  # 0.1 and 0.2 are a little above
    found = counted(slices=[cut], numbers={"mean_intensity": values})
    assert [found.slices[name].rows for name in cut.names] == [1, 1, 2]
    assert found.slices["mean_intensity<0.1"] == Tally(rows=1, correct=0, lost=1)


@pytest.mark.parametrize("broken", [NAN, INF, -INF])
def test_what_is_no_number_is_wrong_and_counted(broken: float) -> None:
    found = counted([[broken, 0.2, 0.1], *CANDIDATE[1:]])
    assert found.not_finite == 1
    assert found.overall == Tally(rows=4, correct=1, lost=1)
    assert sum(map(sum, found.confusion)) == 3  # it got no answer
    assert np.isnan(found.cross_entropy)
    of_baseline = counted(baseline=np.array([*BASELINE[:2], [broken, 0.2, 0.7], BASELINE[3]]))
    assert of_baseline.not_finite == 0
    assert of_baseline.overall.gained == 2


# --- as the Evaluator counts ---------------------------------------------------------------------


def _by_gate_metrics(labels: np.ndarray, candidate: np.ndarray, baseline: np.ndarray) -> dict:
    """What the metric `PairedCounts` makes of the same rows."""
    specs = [
        config_pb2.ModelSpec(name="candidate"),
        config_pb2.ModelSpec(name="baseline", is_baseline=True),
    ]
    (computation,) = gate_metrics.PairedCounts().computations(
        eval_config=config_pb2.EvalConfig(model_specs=specs), model_names=["candidate"]
    )
    combiner, total = computation.combiner, computation.combiner.create_accumulator()
    for label, *rows in zip(labels, candidate, baseline, strict=True):
        given = {
            name: {features.PROBABILITIES: row}
            for name, row in zip(("candidate", "baseline"), rows, strict=True)
        }
        one_hot = np.eye(3, dtype=np.float32)[label]
        element = metric_types.StandardMetricInputs(
            {"labels": dict.fromkeys(given, one_hot), "predictions": given}
        )
        total = combiner.add_input(total, element)
    return {key.name: value for key, value in combiner.extract_output(total).items()}


def test_ties_and_what_is_no_number_are_counted_as_the_gates_metrics_do() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 500)
    values, mostly_finite = [0.1, 0.3, 0.6, NAN, INF, -INF], [0.3, 0.32, 0.3, 0.04, 0.02, 0.02]
    candidate, baseline = rng.choice(values, (2, 500, 3), p=mostly_finite)
    found = count(labels, candidate, baseline=baseline, class_names=CLASSES, slices=(), numbers={})
    by_metrics = _by_gate_metrics(labels, candidate, baseline)
    answers = by_metrics.pop(gate_metrics.ANSWERS).tolist()
    assert {**dataclasses.asdict(found.overall), "not_finite": found.not_finite} == by_metrics
    assert [sum(column) for column in zip(*found.confusion, strict=True)] == answers


def test_probabilities_on_their_bounds_are_weighed_as_keras_does() -> None:
    rows = np.array([[1, 0, 0], [0, 1, 0], [0.5, 0.25, 0.25], [0.25, 0.5, 0.25]], np.float32)
    one_hot = np.eye(3, dtype=np.float32)[LABELS]
    cross_entropy = keras.metrics.CategoricalCrossentropy()
    top_2 = keras.metrics.TopKCategoricalAccuracy(k=2)
    for metric in (cross_entropy, top_2):
        metric.update_state(one_hot, rows)
    found = counted(rows)
    assert found.cross_entropy == pytest.approx(float(cross_entropy.result()), rel=1e-5)
    assert found.top_2_accuracy == pytest.approx(float(top_2.result()))


def _counted_from(setting: Setting, signature: str, *, compared: bool) -> Evidence:
    """From what the exported models say by one of their signatures."""
    examples = [
        tf.train.Example.FromString(record).features.feature for record in setting.serialized
    ]
    pngs = np.array([example[features.IMAGE].bytes_list.value[0] for example in examples], object)
    pixels = np.stack([tf.io.decode_png(png).numpy() for png in pngs])
    intensities = [example[features.MEAN_INTENSITY].float_list.value[0] for example in examples]

    def probabilities(model: Any) -> np.ndarray:
        path = path_utils.serving_model_path(model.uri)
        shape, classes = SPEC.image_shape, SPEC.num_classes
        asked = load(path, signature, image_shape=shape, num_classes=classes)
        return asked.probabilities(pngs, pixels)

    return count(
        setting.labels,
        probabilities(setting.candidate),
        baseline=probabilities(setting.baseline) if compared else None,
        class_names=SPEC.class_names,
        slices=[BANDS],
        numbers={features.MEAN_INTENSITY: np.array(intensities, np.float32)},
    )


@pytest.mark.parametrize("signature", [features.SERVING_DEFAULT, features.PREDICT_PIXELS])
@pytest.mark.parametrize("compared", [True, False], ids=["held", "first"])
def test_an_exported_model_is_counted_as_the_evaluator_does(
    signature: str, compared: bool, setting: Setting, request: pytest.FixtureRequest
) -> None:
    verdict = request.getfixturevalue("held" if compared else "first")
    evaluated = eval_config.read_evidence(verdict.uri, SPEC.class_names, [BANDS])
    found = _counted_from(setting, signature, compared=compared)
    approximate = {
        "cross_entropy": pytest.approx(evaluated.cross_entropy, rel=1e-5),
        "top_2_accuracy": pytest.approx(evaluated.top_2_accuracy, abs=1e-6),
    }
    assert dataclasses.asdict(found) == {**dataclasses.asdict(evaluated), **approximate}
