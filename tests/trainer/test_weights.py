"""Weights to start from: files of Keras, released versions, and what does not fit."""

import dataclasses
import functools
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from tests.refusals import refusal_of
from tests.trainer.samples import SPEC
from tests.trainer.test_loop import separable
from trainer import export, loop
from trainer.features import ImageSpec
from trainer.hparams import HParams
from trainer.model import build_model
from trainer.strategy import mirrored_strategy
from trainer.weights import WEIGHTS, WeightsError, digest_of, start_from

HPARAMS = HParams(architecture="convnet", width=0.25, dropout=0.1)


def build(classes: int, hparams: HParams = HPARAMS):
    return build_model(hparams, image_shape=SPEC.image_shape, num_classes=classes)


@pytest.fixture(scope="module")
def given():
    return build(SPEC.num_classes)


@pytest.fixture(scope="module", params=["file", "version"])
def path(request, given, prepared, tmp_path_factory) -> str:
    """A file of Keras, and a released version."""
    folder = tmp_path_factory.mktemp("weights")
    if request.param == "file":
        trained = build(SPEC.num_classes)
        trained.set_weights(given.get_weights())
        trained.compile("adam")  # whose state is in the file, too
        trained.optimizer.build(trained.trainable_variables)
        trained.save_weights(folder / "given.weights.h5")
        return str(folder / "given.weights.h5")
    graph = tft.TFTransformOutput(prepared.transform_output)
    export.save(given, graph, SPEC, str(folder / "1"))
    return str(folder / "1")


def starting(path: str, **changes) -> HParams:
    found = {WEIGHTS: digest_of(path)}
    return dataclasses.replace(HPARAMS, weights=path, found=found, **changes)


def test_a_network_of_the_same_classes_gets_all_of_them(given, path: str) -> None:
    model = build(SPEC.num_classes)
    assert start_from(model, starting(path), build) == ""
    for value, expected in zip(model.get_weights(), given.get_weights(), strict=True):
        np.testing.assert_array_equal(value, expected)


def test_with_other_classes_the_last_layer_is_left_out_and_said_to_be(given, path: str) -> None:
    model = build(7)
    before = model.get_weights()
    note = start_from(model, starting(path), build)
    assert note == f"weights of {path} are for 4 classes and not 7: the last layer starts anew"
    for value, expected in zip(model.get_weights()[:-2], given.get_weights()[:-2], strict=True):
        np.testing.assert_array_equal(value, expected)
    for value, expected in zip(model.get_weights()[-2:], before[-2:], strict=True):
        np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize("change", [{"width": 0.5}, {"architecture": "article"}], ids=str)
def test_another_network_is_refused_by_the_name_of_a_layer(path: str, change) -> None:
    hparams = starting(path, **change)
    other = functools.partial(build, hparams=hparams)
    line = refusal_of(WeightsError, start_from, other(SPEC.num_classes), hparams, other)
    assert line.startswith(f"training.weights {path} does not fit the network: at ")
    assert "conv2d" in line or "batch_normalization" in line


def test_a_layer_more_or_less_is_refused_with_its_shape(given, path: str) -> None:
    shorter = keras.Model(given.input, given.layers[-2].output)
    longer = keras.Model(given.input, keras.layers.Dense(2)(given.output))
    for model, line in (  # of the kernel or the bias
        (shorter, r"it has the shape \((64, 4|4,)\), expected no such weight; set training.arch"),
        (longer, r"it has no such weight, expected the shape \((4, 2|2,)\); set training.arch"),
    ):
        with pytest.raises(WeightsError, match=line):
            start_from(model, starting(path), build)


def test_weights_that_have_changed_since_are_refused(path: str, tmp_path: Path) -> None:
    copy = tmp_path / Path(path).name
    (shutil.copytree if Path(path).is_dir() else shutil.copyfile)(path, copy)
    hparams = starting(str(copy))
    assert hparams.found == {WEIGHTS: digest_of(path)}
    (values,) = copy.glob("variables/*.data-*") if copy.is_dir() else [copy]
    values.write_bytes(values.read_bytes() + b" ")
    with pytest.raises(WeightsError, match="has changed since the run began"):
        start_from(build(SPEC.num_classes), hparams, build)


def test_what_holds_no_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "model.keras").touch()
    (tmp_path / "damaged.weights.h5").write_bytes(b"no HDF5")
    for name, reason in (
        ("gone.weights.h5", "which cannot be read (No such file or directory): give a .weights"),
        ("empty", "a directory without variables/variables.index, expected that of a released"),
        ("model.keras", "expected a name that ends in .weights.h5, or the directory of a rel"),
    ):
        assert reason in refusal_of(WeightsError, digest_of, str(tmp_path / name))
    damaged = starting(str(tmp_path / "damaged.weights.h5"))
    with pytest.raises(WeightsError, match=r"damaged\.weights\.h5 cannot be read: OSError"):
        start_from(build(SPEC.num_classes), damaged, build)


def test_a_training_starts_from_them(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """At a learning rate of next to nothing, the weights stay what they were."""
    split = separable(32, seed=1, side=12)
    split = dataclasses.replace(
        split,
        images=tf.repeat(split.images[:, :, :10], 3, axis=3),
        levels=tf.repeat(split.levels, 3, axis=1),
    )
    caplog.set_level("INFO")
    served, _ = loop.train(
        starting(path, epochs=1, per_replica_batch=16, learning_rate=1e-12, max_shift=0),
        spec=ImageSpec(SPEC.image_shape, ("above", "below")),
        train_split=split,
        eval_split=split,
        strategy=mirrored_strategy(),
        seed=0,
    )
    assert "are for 4 classes and not 2: the last layer starts anew" in caplog.text
    model = build(SPEC.num_classes)
    start_from(model, starting(path), build)
    for one, expected in zip(served.weights, model.get_weights(), strict=True):
        if "kernel" in one.path and one.shape == expected.shape:
            np.testing.assert_allclose(one, expected, atol=1e-6)
