"""Counts from arrays: by hand, against numpy alone, and as the Evaluator counts."""

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tfx.utils import path_utils

from components.evaluation import counting
from components.evaluation.eval_config import Evaluation
from components.evaluation.predictions import Predictions
from components.evaluation.saved_model import load
from components.gate.evidence import Evidence, Tally
from components.gate.slices import Values
from tests.components.evaluated import BANDS, Setting
from tests.trainer.samples import SPEC
from trainer import features

CLASSES = ("ant", "bee", "cat")
NAN, INF = float("nan"), float("inf")

LABELS = np.array([0, 1, 2, 2])
CANDIDATE = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.5, 0.2, 0.3]])
BASELINE = np.array([[0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.1, 0.2, 0.7], [0.5, 0.3, 0.2]])


def counted(
    candidate: Any = CANDIDATE, baseline: np.ndarray | None = BASELINE, labels: Any = LABELS
) -> Evidence:
    """Over all examples, and over the slice of the first two."""
    candidate = np.array(candidate)
    first = None if baseline is None else baseline[:2]
    scores = counting.scores_of(candidate, labels)
    return counting.from_outcomes(
        counting.count(labels, candidate, baseline),
        {"first": counting.count(labels[:2], candidate[:2], first), "none": counting.Outcomes()},
        class_names=CLASSES,
        compared=baseline is not None,
        cross_entropy=scores.cross_entropy,
        top_2_accuracy=scores.top_2_accuracy,
    )


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


def test_the_confusion_matrix_has_labels_as_rows() -> None:
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


def test_a_slice_is_counted_like_the_whole_and_may_be_empty() -> None:
    assert counted().slices == {
        "first": Tally(rows=2, correct=1, lost=1, gained=1),
        "none": Tally(rows=0, correct=0),
    }


@pytest.mark.parametrize("broken", [NAN, INF, -INF])
def test_what_is_no_number_is_wrong_and_counted(broken: float) -> None:
    found = counted([[broken, 0.2, 0.1], *CANDIDATE[1:]])
    assert found.not_finite == 1
    assert found.overall == Tally(rows=4, correct=1, lost=1)
    assert sum(map(sum, found.confusion)) == 3  # it has no prediction
    assert np.isnan(found.cross_entropy)
    of_baseline = counted(baseline=np.array([*BASELINE[:2], [broken, 0.2, 0.7], BASELINE[3]]))
    assert of_baseline.not_finite == 0
    assert of_baseline.overall.gained == 2


# --- against numpy alone --------------------------------------------------------------------------


def _random() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and two models' probabilities, with ties, NaN and infinities among them."""
    rng = np.random.default_rng(0)
    values, mostly_finite = [0.1, 0.3, 0.6, NAN, INF, -INF], [0.3, 0.32, 0.3, 0.04, 0.02, 0.02]
    candidate, baseline = rng.choice(values, (2, 500, 3), p=mostly_finite)
    return rng.integers(0, 3, 500), candidate, baseline


def test_every_count_is_what_numpy_counts_with_masks() -> None:
    labels, candidate, baseline = _random()
    finite, known = np.isfinite(candidate).all(1), np.isfinite(baseline).all(1)
    right = finite & (candidate.argmax(1) == labels)
    before = known & (baseline.argmax(1) == labels)

    def tally(rows: np.ndarray) -> Tally:
        groups = (rows, rows & right, rows & before & ~right, rows & right & ~before)
        return Tally(*(int(group.sum()) for group in groups))

    found = counted(candidate, baseline, labels)
    assert found.overall == tally(labels >= 0)
    assert [*found.classes.values()] == [tally(labels == label) for label in range(3)]
    assert found.slices["first"] == tally(np.arange(500) < 2)
    assert found.not_finite == (~finite).sum() > 0
    confusion = np.zeros((3, 3), int)
    np.add.at(confusion, (labels[finite], candidate[finite].argmax(1)), 1)
    assert found.confusion == tuple(map(tuple, confusion.tolist()))


def test_outcomes_add_up_over_parts_and_survive_being_written_as_rows() -> None:
    labels, candidate, baseline = _random()
    whole = counting.count(labels, candidate, baseline)
    halves = (
        counting.count(labels[part], candidate[part], baseline[part])
        for part in (slice(200), slice(200, None))
    )
    assert sum(halves, counting.Outcomes()) == whole
    rows = counting.to_rows(whole)
    assert rows.sum(axis=0)[-1] == 500
    assert counting.from_rows(rows.tolist()) == whole
    assert counting.to_rows(counting.Outcomes()).shape == (0, 4)


def test_scores_are_the_same_in_any_order_and_parts() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(3), 500).astype(np.float32)
    labels = rng.integers(0, 3, 500)
    whole = counting.scores_of(probabilities, labels)
    order = rng.permutation(500)
    parts = [counting.scores_of(probabilities[[row]], labels[[row]]) for row in order]
    assert sum(parts, counting.Scores()) == whole
    exact = -np.log(probabilities[np.arange(500), labels].astype(float))
    assert whole.cross_entropy == round(exact.mean(), 6)


def test_of_no_examples_there_is_no_score() -> None:
    none = counting.Scores()
    assert np.isnan([none.cross_entropy, none.top_2_accuracy]).all()


def test_probabilities_on_their_bounds_are_weighed_as_keras_does() -> None:
    rows = np.array([[1, 0, 0], [0, 1, 0], [0.5, 0.25, 0.25], [0.25, 0.5, 0.25]], np.float32)
    one_hot = np.eye(3, dtype=np.float32)[LABELS]
    cross_entropy = keras.metrics.CategoricalCrossentropy()
    top_2 = keras.metrics.TopKCategoricalAccuracy(k=2)
    for metric in (cross_entropy, top_2):
        metric.update_state(one_hot, rows)
    found = counted(rows)
    assert found.cross_entropy == pytest.approx(float(cross_entropy.result()), abs=2e-6, rel=1e-5)
    assert found.top_2_accuracy == pytest.approx(float(top_2.result()))


# --- as the Evaluator counts ---------------------------------------------------------------------


def _by_signature(setting: Setting, signature: str, *, compared: bool) -> Evidence:
    """From the predictions of the exported models by one of their signatures, as `gate check`."""
    examples = [
        tf.train.Example.FromString(record).features.feature for record in setting.serialized
    ]
    pngs = np.array([example[features.IMAGE].bytes_list.value[0] for example in examples], object)
    pixels = np.stack([tf.io.decode_png(png).numpy() for png in pngs])
    intensities = [example[features.MEAN_INTENSITY].float_list.value[0] for example in examples]
    probabilities = [
        load(
            path_utils.serving_model_path(model.uri),
            signature,
            image_shape=SPEC.image_shape,
            num_classes=SPEC.num_classes,
        ).probabilities(pngs, pixels)
        for model in (setting.candidate, *([setting.baseline] if compared else []))
    ]
    predictions = Predictions(
        features={"label": setting.labels, "mean_intensity": np.array(intensities, np.float32)},
        digest="",
        repeated=0,
        probabilities=probabilities,
    )
    return predictions.evidence(SPEC.class_names, [BANDS])


@pytest.mark.parametrize("signature", [features.SERVING_DEFAULT, features.PREDICT_PIXELS])
@pytest.mark.parametrize("compared", [True, False], ids=["held", "first"])
def test_an_exported_model_is_counted_as_the_evaluator_does(
    signature: str, compared: bool, setting: Setting, request: pytest.FixtureRequest
) -> None:
    verdict = request.getfixturevalue("held" if compared else "first")
    evaluated = Evaluation(verdict.uri).evidence(SPEC.class_names, [BANDS])
    found = _by_signature(setting, signature, compared=compared)
    approximate = {
        "cross_entropy": pytest.approx(evaluated.cross_entropy, abs=2e-6, rel=1e-5),
        "top_2_accuracy": pytest.approx(evaluated.top_2_accuracy, abs=1e-6),
    }
    assert dataclasses.asdict(found) == {**dataclasses.asdict(evaluated), **approximate}


def test_predictions_are_sliced_by_texts_too() -> None:
    features_of = {"label": LABELS, "camera": np.array(["a", "b", "a", "c"])}
    predictions = Predictions(
        features=features_of, digest="", repeated=0, probabilities=[CANDIDATE]
    )
    slices = predictions.evidence(CLASSES, [Values("camera", ("a",))]).slices
    assert slices == {
        "camera=a": Tally(rows=2, correct=2),
        "camera=(other)": Tally(rows=2, correct=0),
    }
