"""Random changes of training images: one operation per batch, another draw for each image.

What is drawn depends on nothing but the seed and the image's place in the global batch, so a batch
is the same on any number of replicas and in a resumed training. Synopsis::

    augmentation = make_augmentation(HParams(max_shift=2, horizontal_flip=True))
    draws = augmentation.draw(batch, seed)       # seed: [2] integers
    images = augmentation.apply(images, draws)   # [B, H, W, C] float32, same shape
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from trainer.hparams import HParams

_CPU = "CPU:0"  # where TensorFlow reads seeds and a few other inputs: a GPU's would be waited for


class Augmentation(NamedTuple):
    """A change of images in two steps, so that a replica can draw for the whole global batch and
    change its own share.

    Attributes:
      draw: (number of images B, seed [2]) -> the draws, [B, K].
      apply: (images [B, H, W, C] float32, draws [B, K]) -> images of the same shape.
    """

    draw: Callable[[int, tf.Tensor], tf.Tensor]
    apply: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def make_augmentation(hparams: HParams) -> Augmentation:
    """Returns the cheapest one that makes the changes of the hyper-parameters."""
    parts = []
    if hparams.max_rotation or hparams.max_zoom:
        apply = functools.partial(
            warp,
            max_shift=hparams.max_shift,
            max_rotation=hparams.max_rotation,
            max_zoom=hparams.max_zoom,
        )
        parts.append(Augmentation(functools.partial(_draw_fractions, count=4), apply))
    elif hparams.max_shift:
        draw = functools.partial(_draw_shifts, max_shift=hparams.max_shift)
        parts.append(Augmentation(draw, shift))
    if hparams.horizontal_flip:
        parts.append(Augmentation(functools.partial(_draw_fractions, count=1), flip))
    if hparams.color_jitter:
        apply = functools.partial(jitter, strength=hparams.color_jitter)
        parts.append(Augmentation(functools.partial(_draw_fractions, count=3), apply))
    if not parts:
        return Augmentation(lambda batch, _: tf.zeros([batch, 0]), lambda images, _: images)
    return parts[0] if len(parts) == 1 else _one_after_another(parts)


def _one_after_another(parts: Sequence[Augmentation]) -> Augmentation:
    """Joins the draws, as float32. The first part draws as it does alone, the others by seeds of
    their own.
    """
    counts = [part.draw(1, tf.constant([0, 0], tf.int64)).shape[1] for part in parts]

    def draw(batch: int, seed: tf.Tensor) -> tf.Tensor:
        draws = []
        for number, part in enumerate(parts):
            with tf.device(_CPU):
                own = tf.random.experimental.stateless_fold_in(seed, number) if number else seed
            draws.append(tf.cast(part.draw(batch, own), tf.float32))
        return tf.concat(draws, axis=1)

    def apply(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        for part, own in zip(parts, tf.split(draws, counts, axis=1), strict=True):
            images = part.apply(images, own)
        return images

    return Augmentation(draw, apply)


def _draw_shifts(batch: int, seed: tf.Tensor, *, max_shift: int) -> tf.Tensor:
    draws = tf.random.stateless_uniform([batch, 2], seed, -max_shift, max_shift + 1, tf.int32)
    return tf.cast(draws, tf.int64)  # with int32 TensorFlow computes on the CPU


def _draw_fractions(batch: int, seed: tf.Tensor, *, count: int) -> tf.Tensor:
    return tf.random.stateless_uniform([batch, count], seed, -1.0, 1.0)


def shift(images: tf.Tensor, offsets: tf.Tensor) -> tf.Tensor:
    """Moves each image by whole pixels, and mirrors its edge into the gap.

    Args:
      images: [B, H, W, C] of any dtype.
      offsets: [B, 2] integers, of rows and columns, smaller than H and W.
    """
    _, height, width, channels = images.shape
    batch = tf.shape(images)[0]
    offsets = tf.cast(offsets, tf.int64)  # a GPU computes with these, and not with int32
    rows = _mirrored(tf.range(height, dtype=tf.int64) + offsets[:, :1], height)  # [B, H]
    columns = _mirrored(tf.range(width, dtype=tf.int64) + offsets[:, 1:], width)  # [B, W]
    sources = rows[:, :, None] * width + columns[:, None, :]  # [B, H, W]
    pixels = tf.reshape(images, [batch, height * width, channels])
    moved = tf.gather(pixels, tf.reshape(sources, [batch, height * width]), axis=1, batch_dims=1)
    return tf.reshape(moved, [batch, height, width, channels])


def _mirrored(positions: tf.Tensor, length: int) -> tf.Tensor:
    return (length - 1) - tf.abs((length - 1) - tf.abs(positions))


def warp(
    images: tf.Tensor, draws: tf.Tensor, *, max_shift: int, max_rotation: float, max_zoom: float
) -> tf.Tensor:
    """Rotates, zooms and moves each image about its centre, and fills the gap with its edge.

    Bilinear. Shifts are in pixels and may be fractions of one, rotations in degrees either way; a
    `max_zoom` of 0.1 makes factors of 0.9 to 1.1.

    Args:
      images: [B, H, W, C] float32.
      draws: [B, 4] from -1 to 1, as fractions of the largest rotation, zoom and shifts.
    """
    height, width = images.shape[1:3]
    angle, zoom, dy, dx = tf.unstack(draws, axis=1)  # [B] each
    angle = angle * max_rotation * math.pi / 180.0
    zoom = 1.0 + zoom * max_zoom
    # The operation wants the way back, from a pixel of its output to one of its input.
    cos, sin = tf.cos(angle) / zoom, tf.sin(angle) / zoom
    centre_y, centre_x = (height - 1) / 2.0, (width - 1) / 2.0
    to_y, to_x = centre_y + dy * max_shift, centre_x + dx * max_shift
    zeros = tf.zeros_like(angle)
    transforms = tf.stack(
        [
            *(cos, -sin, centre_x - cos * to_x + sin * to_y),  # x of the input
            *(sin, cos, centre_y - sin * to_x - cos * to_y),  # y of the input
            *(zeros, zeros),  # no perspective
        ],
        axis=1,
    )  # [B, 8]
    with tf.device(_CPU):
        unused = tf.constant(0.0)
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=[height, width],
        fill_value=unused,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    return tf.ensure_shape(warped, images.shape)


def flip(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Mirrors left and right in half of the images.

    Args:
      images: [B, H, W, C] of any dtype.
      draws: [B, 1] from -1 to 1; those above 0 mirror.
    """
    return tf.where(draws[:, :, None, None] > 0.0, tf.reverse(images, [2]), images)


def jitter(images: tf.Tensor, draws: tf.Tensor, *, strength: float) -> tf.Tensor:
    """Changes brightness, contrast and saturation, each by a fraction of at most `strength`.

    Brightness adds the fraction of a standard deviation to the image, contrast multiplies the
    distance from the mean of the image's channel by 1 plus the fraction, and saturation that from
    the mean of the pixel's channels. Nothing is clipped, because a network has no largest input.

    Args:
      images: [B, H, W, C] float32, of zero mean and unit variance.
      draws: [B, 3] from -1 to 1, as fractions of the largest changes.
    """
    brightness, contrast, saturation = tf.unstack(strength * draws[:, :, None, None, None], axis=1)
    mean = tf.reduce_mean(images, axis=[1, 2], keepdims=True)  # [B, 1, 1, C]
    images = mean + (1.0 + contrast) * (images - mean) + brightness
    grey = tf.reduce_mean(images, axis=3, keepdims=True)  # [B, H, W, 1]
    return grey + (1.0 + saturation) * (images - grey)
