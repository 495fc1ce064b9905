"""TFX's own Evaluator on a small exported model whose every error is known."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tfx.utils import path_utils

from components.evaluation import eval_config
from components.gate.evidence import Evidence, Tally
from tests.components.evaluated import (
    BANDS,
    BRIGHT,
    CONFUSED,
    CORRECT,
    CROSS_ENTROPY,
    DARK,
    HELD,
    MISSED,
    ROWS,
    WHITE,
    Setting,
    Verdict,
    evaluate,
)
from tests.trainer.samples import SPEC
from trainer import features


def _probabilities(setting: Setting, model: Any) -> np.ndarray:
    """Probabilities [100, 4] that the exported signature gives."""
    signatures = tf.saved_model.load(path_utils.serving_model_path(model.uri)).signatures
    given = signatures[features.SERVING_EXAMPLES](examples=tf.constant(setting.serialized))
    return given[features.PROBABILITIES].numpy()


def _by_numpy(setting: Setting, *, compared: bool) -> Evidence:
    """What the Evaluator should count."""
    probabilities, labels = _probabilities(setting, setting.candidate), setting.labels
    order = np.argsort(-probabilities, axis=1)
    right = order[:, 0] == labels
    before = (
        _probabilities(setting, setting.baseline).argmax(axis=1) == labels if compared else right
    )

    def tally(rows: np.ndarray) -> Tally:
        counts = (rows, rows & right, rows & before & ~right, rows & right & ~before)
        return Tally(*(int(count.sum()) for count in counts))

    dark = np.arange(len(labels)) % 2 == 0
    confusion = np.zeros((SPEC.num_classes, SPEC.num_classes), int)
    np.add.at(confusion, (labels, order[:, 0]), 1)
    return Evidence(
        overall=tally(labels >= 0),
        classes={name: tally(labels == label) for label, name in enumerate(SPEC.class_names)},
        slices={DARK: tally(dark), BRIGHT: tally(~dark), WHITE: tally(labels < 0)},
        cross_entropy=-np.log(probabilities[np.arange(len(labels)), labels]).mean(),
        top_2_accuracy=(order[:, :2] == labels[:, None]).any(axis=1).mean(),
        compared=compared,
        confusion=tuple(map(tuple, confusion.tolist())),
    )


def _read(verdict: Verdict) -> Evidence:
    return eval_config.read_evidence(verdict.uri, SPEC.class_names, (BANDS,))


def _assert_same(actual: Evidence, expected: Evidence) -> None:
    approximate = {
        "cross_entropy": pytest.approx(expected.cross_entropy, rel=1e-5),
        "top_2_accuracy": pytest.approx(expected.top_2_accuracy, abs=1e-6),
    }
    assert dataclasses.asdict(actual) == {**dataclasses.asdict(expected), **approximate}


def test_the_counts_are_those_computed_from_the_exported_signatures(setting, held):
    _assert_same(_read(held), _by_numpy(setting, compared=True))


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


def test_it_says_which_saved_model_it_looked_at(setting, held, first):
    path = path_utils.serving_model_path(setting.candidate.uri)
    assert eval_config.model_location(held.uri) == path
    assert eval_config.model_location(first.uri) == path


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


@pytest.mark.parametrize("policy", ["on the floor", "bounds held", "bounds missed"])
def test_a_model_on_or_above_the_floor_is_blessed_whatever_else_is_wrong(
    policy, setting, held, missed, tmp_path
):
    if policy == "on the floor":
        on_it = dataclasses.replace(MISSED, floor=0.96)
        assert evaluate(setting, on_it, tmp_path, compared=False).blessed
    else:
        assert (held if policy == "bounds held" else missed).blessed


def test_without_a_baseline_nothing_is_lost_or_gained(setting, first):
    _assert_same(_read(first), _by_numpy(setting, compared=False))


def test_a_baseline_that_was_announced_and_is_missing_is_no_blessing(setting, tmp_path):
    with pytest.raises(
        Exception, match="compares with a baseline, and the Evaluator was given none"
    ):
        evaluate(setting, HELD, tmp_path, compared=True, given=False)
