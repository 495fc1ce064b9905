"""The sample of predictions, alone and as TFX's Evaluator makes it for a small exported model."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_model_analysis.proto import config_pb2
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components.evaluation import eval_config
from components.evaluation.gate_metrics import SAMPLE, GateEvidence
from tests.components.artifacts import artifact
from tests.components.evaluated import evaluate_sample, examples_of
from tests.trainer.samples import SPEC, png, serialize
from trainer import export, features
from trainer.hparams import HParams
from trainer.model import build_model

SIZE = 8

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
    (computation,) = GateEvidence(size=SIZE).computations(
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


def test_the_sample_does_not_depend_on_order_or_workers():
    rng = np.random.default_rng(0)
    alone = _sample([EXAMPLES])
    for workers in (2, 3, 7):
        order = rng.permutation(len(EXAMPLES))
        parts = np.array_split(order, workers)
        assert _sample([[EXAMPLES[row] for row in part] for part in parts]) == alone


def test_most_examples_do_not_reach_the_slices():
    (computation,) = GateEvidence(size=2).computations(
        eval_config=config_pb2.EvalConfig(), model_names=[""]
    )
    (preprocessor,) = computation.preprocessors
    preprocessor.setup()
    observed = [preprocessor.process(extracts) for extracts in EXAMPLES[:64]]
    passed = sum(bool(sampled) for ((_, sampled, *_),) in observed)
    assert 2 <= passed < 32


# --- as the Evaluator makes it -------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(prepared, tmp_path_factory) -> dict[str, Any]:
    graph = tft.TFTransformOutput(prepared.transform_output)
    made = {}
    for name in (eval_config.CANDIDATE, eval_config.BASELINE):
        made[name] = artifact(standard_artifacts.Model, tmp_path_factory.mktemp(name))
        network = build_model(HParams(), image_shape=SPEC.image_shape, num_classes=SPEC.num_classes)
        export.save(network, graph, SPEC, path_utils.serving_model_path(made[name].uri))
    return made


def _expected(prepared, model: Any) -> dict[str, np.ndarray]:
    """The same from what the exported signature predicts, one image at a time."""
    signatures = tf.saved_model.load(path_utils.serving_model_path(model.uri)).signatures
    by_digest = {}
    for image, label in zip(prepared.eval_pixels, prepared.eval_labels, strict=True):
        predicted = signatures[features.SERVING_EXAMPLES](
            examples=tf.constant([serialize(png(image), int(label))])
        )
        digest = hashlib.sha256(png(image)).hexdigest()
        (by_digest[digest],) = predicted[features.PROBABILITIES].numpy()
    return {digest: by_digest[digest] for digest in sorted(by_digest)[:SIZE]}


@pytest.mark.parametrize("compared", [True, False], ids=["with a baseline", "first release"])
def test_the_evaluator_keeps_the_candidates_predictions(prepared, models, tmp_path, compared):
    given = models if compared else {eval_config.CANDIDATE: models[eval_config.CANDIDATE]}
    examples = examples_of(str(Path(prepared.eval_files).parent), tmp_path / "examples")
    verdict = evaluate_sample(examples, given, tmp_path, size=SIZE)
    predictions = eval_config.Evaluation(verdict.uri).sampled_predictions()
    expected = _expected(prepared, models[eval_config.CANDIDATE])
    assert list(predictions) == list(expected)
    for digest, probabilities in predictions.items():
        assert probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities, expected[digest], rtol=0, atol=1e-6)
