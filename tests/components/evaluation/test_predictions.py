"""Predictions of a test split: the examples are those of a run, and each is predicted."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components.evaluation.predictions import Predictions, predict
from components.evaluation.saved_model import Model, load
from components.example_gen.example_facts import digest_of
from components.example_gen.generate import read_parts
from components.example_gen.image_set import TEST, ImageSet
from components.example_gen.opening import open_dataset
from components.gate.evidence import Tally
from components.gate.slices import Bands
from tests.pipeline.saved_models import images, save_function


@pytest.fixture(scope="module")
def sample() -> ImageSet:
    return open_dataset("mnist_sample", data_dir=None)


Parts = list[tuple[np.ndarray, list[bytes]]]


@pytest.fixture(scope="module")
def parts(sample: ImageSet) -> Parts:
    """The test split as ExampleGen reads it: facts and serialized examples."""
    return [part for shard in sample.shards_of(TEST) for part in read_parts(sample, shard)]


@pytest.fixture(scope="module")
def examples(parts: Parts) -> list[Any]:
    """The features of what it writes for the test split."""
    serialized = [example for _, examples in parts for example in examples]
    return [tf.train.Example.FromString(example).features.feature for example in serialized]


@pytest.fixture(scope="module")
def striped(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Says what it saw: the shares that ten stripes of the image have of its brightness."""

    def stripes(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = tf.reduce_sum(tf.cast(pixels[:, 4:24], tf.float32), axis=[2, 3]) + 1.0
        parts = tf.reduce_sum(tf.reshape(rows, [-1, 10, 2]), axis=2)
        return {"scores": parts / tf.reduce_sum(parts, axis=1, keepdims=True)}

    path = save_function(tmp_path_factory.mktemp("model"), stripes, images(28, 28, 1))
    return load(path, "serving_default", image_shape=(28, 28, 1), num_classes=10)


@pytest.fixture(scope="module")
def predictions(sample: ImageSet, striped: Model) -> Predictions:
    return predict(sample, [striped, striped])


def test_the_split_has_the_rows_and_the_digest_that_example_gen_records(
    parts: Parts, predictions: Predictions
) -> None:
    facts = np.concatenate([facts for facts, _ in parts])
    assert len(predictions.features["label"]) == len(facts) == 1000
    assert predictions.digest == digest_of(facts["example_hash"])


def test_numbers_are_to_the_last_bit_those_of_the_examples(
    examples: list[Any], predictions: Predictions
) -> None:
    written = [example["mean_intensity"].float_list.value[0] for example in examples]
    assert predictions.features["mean_intensity"].dtype == np.float32
    assert predictions.features["mean_intensity"].tolist() == written
    assert predictions.features["label"].tolist() == [
        example["label"].int64_list.value[0] for example in examples
    ]


def test_each_model_is_asked_about_each_image_in_its_place(
    examples: list[Any], striped: Model, predictions: Predictions
) -> None:
    pngs = np.array([example["image"].bytes_list.value[0] for example in examples], object)
    pixels = np.stack([tf.io.decode_png(png).numpy() for png in pngs])
    at_once = striped.probabilities(pngs, pixels)
    for probabilities in predictions.probabilities:
        np.testing.assert_allclose(probabilities, at_once, rtol=1e-6)


def test_slices_by_every_number_of_an_example_are_counted(predictions: Predictions) -> None:
    cuts = [
        Bands("label", (5.0,)),
        Bands("mean_intensity", (0.0,)),
        *(Bands(size, (28.0,)) for size in ("height", "width")),
        Bands("channels", (2.0,)),
    ]
    found = predictions.evidence([str(label) for label in range(10)], cuts)
    rows = [tally.rows for tally in found.slices.values()]
    assert rows == [500, 500, 0, 1000, 0, 1000, 0, 1000, 1000, 0]


def test_two_models_are_compared_and_one_is_not(predictions: Predictions, sample: ImageSet) -> None:
    names = sample.info.class_names
    wrong = np.eye(10)[(predictions.features["label"] + 1) % 10]
    right = np.eye(10)[predictions.features["label"]]

    def overall(*probabilities: np.ndarray) -> Tally:
        given = dataclasses.replace(predictions, probabilities=probabilities)
        return given.evidence(names, ()).overall

    assert overall(right) == Tally(rows=1000, correct=1000)
    assert overall(right, wrong) == Tally(rows=1000, correct=1000, gained=1000)
    assert overall(wrong, right) == Tally(rows=1000, correct=0, lost=1000)
