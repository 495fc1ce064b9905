"""The sample of predictions, alone and as TFX's Evaluator makes it for a small exported model."""

import hashlib
import json
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_model_analysis.proto import config_pb2
from tfx.utils import path_utils

from components.evaluation import gate_metrics
from components.evaluation.eval_config import Evaluation
from components.evaluation.gate_metrics import SAMPLE, GateEvidence
from trainer import features

# --- by itself -----------------------------------------------------------------------------------


def _extracts(image: bytes, probabilities: list[float]) -> dict[str, Any]:
    """One example as TFMA hands it to metrics."""
    return {
        "features": {
            features.IMAGE: np.array([image]),
            features.MEAN_INTENSITY: np.array([0.5], np.float32),
            features.HEIGHT: np.array([28]),
            features.WIDTH: np.array([28]),
        },
        "labels": np.array([1.0, 0.0], np.float32),
        "predictions": {features.PROBABILITIES: np.array(probabilities, np.float32)},
    }


# Twice the same image, as in batches of different sizes: its predictions differ by rounding.
EXAMPLES = [_extracts(bytes([row]), [row / 64, 1 - row / 64]) for row in range(64)]
EXAMPLES += [_extracts(bytes([row]), [row / 64 + 1e-6, 1 - row / 64]) for row in range(64)]


def _sample(workers: list[list[dict[str, Any]]]) -> bytes:
    """What the metric says of examples that these workers see in this order."""
    (computation,) = GateEvidence().computations(
        eval_config=config_pb2.EvalConfig(), model_names=[""]
    )
    (preprocessor,), combiner = computation.preprocessors, computation.combiner
    sketches = []
    for examples in workers:
        preprocessor.setup()
        sketch = combiner.create_accumulator()
        for extracts in examples:
            sketch = combiner.add_inputs(sketch, preprocessor.process(extracts))
        sketches.append(sketch)
    output = combiner.extract_output(combiner.merge_accumulators(sketches))
    return {key.name: value for key, value in output.items()}[SAMPLE]


def test_the_sample_holds_the_smallest_digests_in_whatever_order_workers_see_them(monkeypatch):
    monkeypatch.setattr(gate_metrics, "SIZE", 8)
    rng = np.random.default_rng(0)
    digests = [hashlib.sha256(bytes([row])).hexdigest() for row in range(64)]
    rows = sorted(range(64), key=digests.__getitem__)
    last = [*rows[:7], *rows[:6:-1]]  # the largest of the eight comes last
    alone = _sample([[*(EXAMPLES[row] for row in last), *EXAMPLES[64:]]])
    assert list(json.loads(alone)) == sorted(digests)[:8]
    for workers in (2, 3, 7):
        order = rng.permutation(len(EXAMPLES))
        parts = np.array_split(order, workers)
        assert _sample([[EXAMPLES[row] for row in part] for part in parts]) == alone


def test_most_examples_do_not_reach_the_slices(monkeypatch):
    monkeypatch.setattr(gate_metrics, "SIZE", 2)
    (computation,) = GateEvidence().computations(
        eval_config=config_pb2.EvalConfig(), model_names=[""]
    )
    (preprocessor,) = computation.preprocessors
    preprocessor.setup()
    observed = [preprocessor.process(extracts) for extracts in EXAMPLES[:64]]
    passed = sum(bool(sampled) for ((_, sampled, *_),) in observed)
    assert 2 <= passed < 32


# --- as the Evaluator makes it -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["held", "first"])
def test_the_evaluator_keeps_the_candidates_predictions(setting, kind, request):
    kept = Evaluation(request.getfixturevalue(kind).uri).sampled_predictions()
    model = tf.saved_model.load(path_utils.serving_model_path(setting.candidate.uri))
    predict = model.signatures[features.SERVING_EXAMPLES]
    predicted = predict(examples=tf.constant(setting.serialized))[features.PROBABILITIES].numpy()
    expected = {}  # of fewer images than are kept
    for record, probabilities in zip(setting.serialized, predicted, strict=True):
        feature = tf.train.Example.FromString(record).features.feature
        (image,) = feature[features.IMAGE].bytes_list.value
        expected[hashlib.sha256(image).hexdigest()] = probabilities
    assert list(kept) == sorted(expected)
    for digest, probabilities in kept.items():
        assert probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities, expected[digest], rtol=0, atol=1e-6)
