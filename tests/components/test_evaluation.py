"""TFX's own Evaluator on a small exported model whose every error is known."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
import tensorflow_transform as tft
from tfx.components.evaluator import executor as evaluator
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import path_utils, proto_utils

from components import evaluation
from components.blessing import is_blessed
from pipeline import gate
from tests.trainer.samples import SPEC, draw, png, serialize
from trainer import export, features

# The classes are ant, bee, cat and dog. Of 25 images of each, three that show an ant are labelled
# bee, and one that shows a dog is labelled cat.
ROWS = {"ant": 22, "bee": 28, "cat": 26, "dog": 24}
CORRECT = {"ant": 22, "bee": 25, "cat": 25, "dog": 24}
CONFUSED = {("bee", "ant"): 3, ("cat", "dog"): 1}
# The baseline sees a flag in two of the mislabelled ants: 98 of 100, against the candidate's 96.
FLAGGED = [0, 4]

CROSS_ENTROPY = 0.2205  # nats, of the candidate

# Every check stands on its bound: 96 of 100, bee's 25 of 28, the cross-entropy to four digits, and
# 0.96 - 0.98, which float32 may put a little below -0.02.
HELD = gate.Policy(
    floor=96 / 100,
    class_floor=25 / 28,
    max_cross_entropy=CROSS_ENTROPY + 1e-4,
    max_drop=2 / 100 - 0.5 * gate.TOLERANCE,
)
# Every bound is missed: by one example, by one example of bee (cat has 25 of 26 and holds), by the
# fourth digit, and by one millionth more than is tolerated.
MISSED = gate.Policy(
    floor=97 / 100,
    class_floor=26 / 28,
    max_cross_entropy=CROSS_ENTROPY - 1e-4,
    max_drop=2 / 100 - 2.0 * gate.TOLERANCE,
)


@dataclasses.dataclass(frozen=True)
class Setting:
    """What the Evaluator is given."""

    examples: Any  # Examples, split test
    candidate: Any  # Model
    baseline: Any  # Model
    serialized: list[bytes]
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the Evaluator gave."""

    uri: str
    blessed: bool


@pytest.fixture(scope="module")
def setting(prepared, tmp_path_factory) -> Setting:
    root = tmp_path_factory.mktemp("evaluation")
    pixels, labels = draw(100, seed=3)
    pixels[:, 0, 0] = 0
    pixels[FLAGGED, 0, 0] = 255
    labels[[0, 4, 8]] = SPEC.class_names.index("bee")
    labels[3] = SPEC.class_names.index("cat")
    serialized = [
        serialize(png(image), int(label)) for image, label in zip(pixels, labels, strict=True)
    ]
    graph = tft.TFTransformOutput(prepared.transform_output)
    models = []
    for name in (evaluation.CANDIDATE, evaluation.BASELINE):
        model = standard_artifacts.Model()
        model.uri = str(root / name)
        network = _brightest_quadrant(graph, pixels, sees_flag=name == evaluation.BASELINE)
        export.save(network, graph, SPEC, path_utils.serving_model_path(model.uri))
        models.append(model)
    return Setting(_examples(root / "examples", serialized), *models, serialized, labels)


def _brightest_quadrant(
    graph: tft.TFTransformOutput, pixels: np.ndarray, *, sees_flag: bool
) -> keras.Model:
    """A linear network that names the quadrant which is brightest on average."""
    height, width, channels = SPEC.image_shape
    weights = np.zeros((height, width, channels, SPEC.num_classes), np.float32)
    bias = np.zeros(SPEC.num_classes, np.float32)
    for label in range(SPEC.num_classes):
        top, left = (label // 2) * height // 2, (label % 2) * width // 2
        weights[top : top + height // 2, left : left + width // 2, :, label] = 2 / 90
    if sees_flag:
        encoded = tf.constant([png(pixels[1]), png(pixels[FLAGGED[0]])])
        images = graph.transform_features_layer()({features.IMAGE: encoded})
        without, flagged = images[features.NORMALIZED_IMAGE].numpy()[:, 0, 0, 0]
        bee = SPEC.class_names.index("bee")
        weights[0, 0, 0, bee] = 20 / (flagged - without)
        bias[bee] = -without * weights[0, 0, 0, bee]
    image = keras.Input(shape=SPEC.image_shape)
    dense = keras.layers.Dense(SPEC.num_classes)
    network = keras.Model(image, dense(keras.layers.Flatten()(image)))
    dense.set_weights([weights.reshape(-1, SPEC.num_classes), bias])
    return network


def _examples(folder: Path, serialized: list[bytes]) -> Any:
    split = folder / "Split-test"
    split.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(split / "data-00000-of-00001.gz"), "GZIP") as writer:
        for record in serialized:
            writer.write(record)
    examples = standard_artifacts.Examples()
    examples.uri = str(folder)
    examples.split_names = artifact_utils.encode_split_names(["test"])
    examples.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    examples.set_string_custom_property("file_format", "tfrecords_gzip")
    return examples


def _evaluate(setting: Setting, policy: gate.Policy, path: Path, *, baseline: bool) -> Verdict:
    measured, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
    measured.uri, blessing.uri = str(path / "evaluation"), str(path / "blessing")
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=["--runner=FnApiRunner"], tmp_dir=str(path / "tmp"), unique_id="1"
    )
    config = evaluation.eval_config(policy, SPEC.num_classes)
    evaluator.Executor(context).Do(
        {
            "examples": [setting.examples],
            "model": [setting.candidate],
            "baseline_model": [setting.baseline] if baseline else [],  # as ServedModel gives it
        },
        {"evaluation": [measured], "blessing": [blessing]},
        {
            "eval_config": proto_utils.proto_to_json(config),
            "example_splits": json.dumps([evaluation.TEST_SPLIT]),
        },
    )
    return Verdict(measured.uri, is_blessed(blessing))


@pytest.fixture(scope="module")
def held(setting, tmp_path_factory) -> Verdict:
    return _evaluate(setting, HELD, tmp_path_factory.mktemp("held"), baseline=True)


@pytest.fixture(scope="module")
def missed(setting, tmp_path_factory) -> Verdict:
    return _evaluate(setting, MISSED, tmp_path_factory.mktemp("missed"), baseline=True)


@pytest.fixture(scope="module")
def first(setting, tmp_path_factory) -> Verdict:
    """Nothing is served yet."""
    return _evaluate(setting, MISSED, tmp_path_factory.mktemp("first"), baseline=False)


def _by_numpy(setting: Setting, model: Any) -> gate.Evaluation:
    """The same from what the exported signature answers."""
    signatures = tf.saved_model.load(path_utils.serving_model_path(model.uri)).signatures
    answer = signatures[features.SERVING_EXAMPLES](examples=tf.constant(setting.serialized))
    probabilities = answer[features.PROBABILITIES].numpy()  # [100, 4]
    labels = setting.labels
    order = np.argsort(-probabilities, axis=1)
    correct = order[:, 0] == labels
    of_class = {name: labels == label for label, name in enumerate(SPEC.class_names)}
    return gate.Evaluation(
        rows=len(labels),
        accuracy=correct.mean(),
        top_2_accuracy=(order[:, :2] == labels[:, None]).any(axis=1).mean(),
        cross_entropy=-np.log(probabilities[np.arange(len(labels)), labels]).mean(),
        by_class={name: correct[rows].mean() for name, rows in of_class.items()},
        class_rows={name: int(rows.sum()) for name, rows in of_class.items()},
    )


def _assert_same(actual: gate.Evaluation, expected: gate.Evaluation) -> None:
    assert actual.rows == expected.rows
    assert actual.class_rows == expected.class_rows
    assert actual.accuracy == expected.accuracy
    assert actual.by_class == expected.by_class
    assert actual.top_2_accuracy == pytest.approx(expected.top_2_accuracy, abs=1e-6)
    assert actual.cross_entropy == pytest.approx(expected.cross_entropy, rel=1e-5)


def test_metrics_are_those_computed_from_the_exported_signature(setting, held):
    measured = evaluation.read_evaluations(held.uri, SPEC.class_names)
    _assert_same(measured.candidate, _by_numpy(setting, setting.candidate))
    _assert_same(measured.baseline, _by_numpy(setting, setting.baseline))


def test_accuracies_are_exact_fractions_of_the_known_errors(held):
    measured = evaluation.read_evaluations(held.uri, SPEC.class_names)
    assert measured.candidate.accuracy == 96 / 100
    assert measured.candidate.class_rows == ROWS
    assert measured.candidate.by_class == {name: CORRECT[name] / ROWS[name] for name in ROWS}
    assert measured.baseline.accuracy == 98 / 100
    assert measured.baseline.by_class == {**measured.candidate.by_class, "bee": 27 / 28}


def test_the_cross_entropy_is_the_known_one(held):
    measured = evaluation.read_evaluations(held.uri, SPEC.class_names)
    assert measured.candidate.cross_entropy == pytest.approx(CROSS_ENTROPY, abs=1e-4)


def test_the_release_record_holds_the_candidates_metrics(held):
    candidate = evaluation.read_evaluations(held.uri, SPEC.class_names).candidate
    assert evaluation.read_metrics(held.uri) == {
        "accuracy": candidate.accuracy,
        "top_2_accuracy": candidate.top_2_accuracy,
        "cross_entropy": candidate.cross_entropy,
    }


def test_the_confusion_matrix_counts_label_against_most_probable_class(held):
    matrix = _confusion(held.uri, evaluation.CANDIDATE)
    assert matrix == {**{(name, name): count for name, count in CORRECT.items()}, **CONFUSED}
    seen = _confusion(held.uri, evaluation.BASELINE)
    assert seen == {**matrix, ("bee", "bee"): 27, ("bee", "ant"): 1}


def _confusion(uri: str, model: str) -> dict[tuple[str, str], int]:
    """{(label, most probable class): examples} over the whole split."""
    (overall,) = (
        record for record in tfma.load_plots(uri) if not record.slice_key.single_slice_keys
    )
    (plot,) = (
        item.value
        for item in overall.plot_keys_and_values
        if item.key.model_name == model
        and item.value.HasField("multi_class_confusion_matrix_at_thresholds")
    )
    (matrix,) = plot.multi_class_confusion_matrix_at_thresholds.matrices
    names = SPEC.class_names
    return {
        (names[entry.actual_class_id], names[entry.predicted_class_id]): int(
            entry.num_weighted_examples
        )
        for entry in matrix.entries
    }


def _failures(verdict: Verdict, policy: gate.Policy) -> tuple[set[str], set[str]]:
    """Names of the checks that failed, as TFMA found them and as the policy has them.

    The blessing and `read_decision` agree with both.
    """
    measured = evaluation.read_evaluations(verdict.uri, SPEC.class_names)
    checks = gate.decide(measured.candidate, measured.baseline, policy)
    by_policy = {check.name for check in checks if not check.passed}
    validation = tfma.load_validation_result(verdict.uri)
    by_tfma = {
        _check_name(record.slice_key.single_slice_keys, failure.metric_threshold)
        for record in validation.metric_validations_per_slice
        for failure in record.failures
    }
    assert verdict.blessed == evaluation.read_decision(verdict.uri) == (not by_tfma)
    assert gate.passed(checks) == (not by_policy)
    return by_tfma, by_policy


def _check_name(slice_keys: Any, threshold: Any) -> str:
    if threshold.HasField("change_threshold"):
        return "baseline"
    if threshold.value_threshold.HasField("upper_bound"):
        return "cross_entropy"
    if not slice_keys:
        return "accuracy"
    return f"class.{SPEC.class_names[slice_keys[0].int64_value]}"


def test_a_model_on_every_bound_is_blessed(held):
    assert held.blessed
    assert _failures(held, HELD) == (set(), set())


def test_tfma_misses_the_same_bounds_as_the_policy(missed):
    names = {"accuracy", "class.bee", "cross_entropy", "baseline"}
    assert not missed.blessed
    assert _failures(missed, MISSED) == (names, names)


def test_without_a_served_model_only_the_comparison_is_left_out(first):
    names = {"accuracy", "class.bee", "cross_entropy"}
    assert _failures(first, MISSED) == (names, names)


def test_without_a_served_model_tfx_takes_the_baseline_out_of_the_config(setting, first):
    measured = evaluation.read_evaluations(first.uri, SPEC.class_names)
    assert measured.baseline is None
    _assert_same(measured.candidate, _by_numpy(setting, setting.candidate))
    assert evaluation.read_metrics(first.uri)["accuracy"] == 96 / 100
    written = json.loads(Path(first.uri, "eval_config.json").read_text())["evalConfig"]
    (only,) = written["modelSpecs"]
    assert not only.get("isBaseline", False)
    assert "changeThreshold" not in json.dumps(written)
