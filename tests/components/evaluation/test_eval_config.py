"""TFX's own Evaluator on a small exported model whose every error is known."""

import dataclasses

import pytest
import tensorflow_model_analysis as tfma
from tfx.utils import path_utils

from components.evaluation.eval_config import Evaluation, eval_config
from components.gate.evidence import Evidence, Tally
from components.gate.policy import Policy
from pipeline.code_keys import COMPONENTS
from tests.components.evaluated import (
    BANDS,
    BRIGHT,
    CAMERAS,
    CONFUSED,
    CORRECT,
    CROSS_ENTROPY,
    DARK,
    HELD,
    MISSED,
    ROWS,
    WHITE,
    Verdict,
    evaluate,
)
from tests.trainer.samples import SPEC


def _read(verdict: Verdict) -> Evidence:
    return Evaluation(verdict.uri).evidence(SPEC.class_names, (BANDS,))


def test_the_counts_are_the_known_errors(held):
    evidence = _read(held)
    assert evidence.overall == Tally(rows=100, correct=96, lost=2, gained=0)
    assert {name: tally.rows for name, tally in evidence.classes.items()} == ROWS
    assert {name: tally.correct for name, tally in evidence.classes.items()} == CORRECT
    assert evidence.classes["bee"].lost == 2
    assert evidence.slices[DARK].rows == evidence.slices[BRIGHT].rows == 50
    assert evidence.slices[WHITE] == Tally(rows=0, correct=0)
    assert evidence.cross_entropy == pytest.approx(CROSS_ENTROPY, abs=1e-4)
    assert evidence.not_finite == 0


def test_slices_by_the_values_of_a_text_are_counted_like_bands(held):
    slices = Evaluation(held.uri).evidence(SPEC.class_names, (BANDS, CAMERAS)).slices
    assert slices["camera=night"] == slices[DARK]
    assert slices["camera=(other)"] == slices[BRIGHT]


def test_a_summary_of_the_test_split_is_kept(held):
    reference = Evaluation(held.uri).reference(len(SPEC.class_names))
    assert reference.rows == sum(reference.classes) == 100
    # The predicted classes: three ants count as ants, though they are labelled bees.
    assert reference.classes == (25, 25, 25, 25)
    height, width, _ = SPEC.image_shape
    assert reference.sizes == {f"{height}x{width}": 100}
    assert sum(reference.confidence) == sum(reference.intensity) == 100
    assert sum(reference.intensity[:100]) == 50  # every other image is dark


def test_it_says_which_saved_model_it_looked_at(setting, held, first):
    path = path_utils.serving_model_path(setting.candidate.uri)
    assert Evaluation(held.uri).model_location() == path
    assert Evaluation(first.uri).model_location() == path


def test_the_confusion_matrix_counts_label_against_most_probable_class(held, first):
    names = SPEC.class_names
    for verdict in (held, first):
        counted = {
            (label, predicted): count
            for label, row in zip(names, _read(verdict).confusion, strict=True)
            for predicted, count in zip(names, row, strict=True)
            if count
        }
        assert counted == {**{(name, name): count for name, count in CORRECT.items()}, **CONFUSED}


def test_a_model_below_the_floor_by_one_float_is_not_blessed(first):
    assert not first.blessed
    (record,) = tfma.load_validation_result(first.uri).metric_validations_per_slice
    assert [failure.metric_key.name for failure in record.failures] == ["accuracy"]


def test_a_model_exactly_on_the_floor_is_blessed(setting, tmp_path):
    on_it = dataclasses.replace(MISSED, floor=0.96)
    assert evaluate(setting, on_it, tmp_path, compared=False).blessed


def test_a_model_above_the_floor_is_blessed_whether_or_not_the_gates_bounds_hold(held, missed):
    assert held.blessed
    assert missed.blessed


def test_without_a_baseline_nothing_is_lost_or_gained(first):
    evidence = _read(first)
    assert evidence.overall == Tally(rows=100, correct=96)
    assert not evidence.compared


def test_a_baseline_that_was_announced_and_is_missing_is_no_blessing(setting, tmp_path):
    with pytest.raises(
        Exception, match="compares with a baseline, and the Evaluator was given none"
    ):
        evaluate(setting, HELD, tmp_path, compared=True, given=False)


def test_a_change_of_any_module_that_it_names_makes_the_evaluator_run_again():
    policy = Policy(floor=0.9, class_floor=0.8, max_cross_entropy=1.0, max_drop=0.01)
    config = eval_config(policy, compared=True)
    named = {metric.module for spec in config.metrics_specs for metric in spec.metrics}
    assert named - {""} <= set(COMPONENTS["Evaluator"])
