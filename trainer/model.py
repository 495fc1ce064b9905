"""The network that the hyper-parameters name: normalized images in, logits out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from trainer import own_network
from trainer.architectures import ARCHITECTURES
from trainer.host.text import one_line
from trainer.hparams import HParams

_SUM_TOLERANCE = 1e-3  # of probabilities, rounded to float16 or not


def build_model(
    hparams: HParams, *, image_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Builds the network [B, H, W, C] float32 -> logits [B, num_classes] float32.

    Within a strategy of several replicas, batch normalization takes its statistics over all of
    them, so that they train like one. Raises `own_network.NetworkError` if the user's function
    makes something else.
    """
    if own_network.is_own(hparams.architecture):
        return _build_own(hparams, image_shape, num_classes)
    image = keras.Input(shape=image_shape, name="image")
    with _layers_in(hparams.precision):
        features = ARCHITECTURES[hparams.architecture].build(image, hparams)
    logits = keras.layers.Dense(num_classes, name="logits", dtype="float32")(features)
    return keras.Model(image, logits, name=hparams.architecture)


def _build_own(
    hparams: HParams, image_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    name = hparams.architecture
    source = hparams.found.get(own_network.SOURCE) or own_network.read_source(name)
    function = own_network.load(name, source)
    given = {
        key: hparams.extra[key]
        for key in own_network.parameters(name, source)
        if key in hparams.extra
    }
    image = keras.Input(shape=image_shape, name="image")
    try:
        with _layers_in(hparams.precision):
            model = function(image_shape, num_classes, hparams, **given)
            if not isinstance(model, keras.Model):
                raise _refused(name, f"it returned {_kind(model)}")
            logits = model(image)
            _require_logits(name, model, logits, num_classes)
            # Not in a training's strategy, whose network was looked at before.
            if not tf.distribute.has_strategy() and _gives_probabilities(model, image_shape):
                reason = "it ends in a softmax, which gives no logits; remove it"
                raise _refused(name, reason)
    except own_network.NetworkError:
        raise
    except (Exception, SystemExit) as error:
        several = isinstance(
            tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy
        )
        if several and isinstance(error, tf.errors.OpError):
            raise  # another machine may be lost
        reason = f"with images of the shape {image_shape} it failed ({one_line(error)})"
        raise _refused(name, reason) from error
    # One that is no graph of layers does not know the shape of its output.
    return model if hasattr(model, "output_shape") else keras.Model(image, logits)


def _require_logits(name: str, model: keras.Model, logits: Any, num_classes: int) -> None:
    shape = tuple(logits.shape) if isinstance(logits, keras.KerasTensor) else _kind(logits)
    if shape != (None, num_classes):
        reason = f"its output is {shape}, expected one of the shape {(None, num_classes)}"
        raise _refused(name, reason)
    if logits.dtype != "float32":
        reason = f"its output is {logits.dtype}; give its last layer dtype='float32'"
        raise _refused(name, reason)
    others = {weight.dtype for weight in model.trainable_variables} - {"float32"}
    if others:
        reason = f"it trains weights of {', '.join(sorted(others))}, expected float32 alone"
        raise _refused(name, f"{reason}; for other layers set training.precision")
    if not model.trainable_variables:
        raise _refused(name, "it has no weight to train")


def _gives_probabilities(model: keras.Model, image_shape: tuple[int, int, int]) -> bool:
    """Whether the network ends in a softmax, by its answers: a layer may hide in another one."""
    noise = keras.random.normal((2, *image_shape), seed=0)  # a seed of its own: no other draw moves
    answers = keras.ops.convert_to_numpy(model(noise, training=False))  # [2, num_classes]
    return bool((answers >= 0.0).all() and (abs(answers.sum(axis=1) - 1.0) < _SUM_TOLERANCE).all())


def _refused(architecture: str, reason: str) -> own_network.NetworkError:
    return own_network.NetworkError(
        architecture,
        reason,
        "expected a function of (image_shape, num_classes, hparams) that returns a keras.Model "
        "which gives logits",
    )


def _kind(value: Any) -> str:
    return f"an object of type {type(value).__name__}"


@contextlib.contextmanager
def _layers_in(precision: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
