"""Random changes of training images: one operation per batch, another draw for each image.

The changes depend on nothing but the seed, so a batch is the same on any number of replicas and in
a resumed training. Synopsis::

    augment = augmentation(HParams(max_shift=2, max_rotation=10.0))
    images = augment(images, seed)      # [B, H, W, C] float32, same shape; seed: [2] integers
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import tensorflow as tf

from trainer.hparams import HParams

Augment = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def augmentation(hparams: HParams) -> Augment:
    """Returns the cheapest function that makes the changes of the hyper-parameters."""
    if hparams.max_rotation or hparams.max_zoom:
        return functools.partial(
            warp,
            max_shift=hparams.max_shift,
            max_rotation=hparams.max_rotation,
            max_zoom=hparams.max_zoom,
        )
    if hparams.max_shift:
        return functools.partial(shift, max_shift=hparams.max_shift)
    return lambda images, seed: images


def shift(images: tf.Tensor, seed: tf.Tensor, *, max_shift: int) -> tf.Tensor:
    """Moves each image by up to `max_shift` whole pixels per axis (less than H and W), and mirrors
    its edge into the gap: [B, H, W, C] of any dtype.
    """
    _, height, width, channels = images.shape
    batch = tf.shape(images)[0]
    offsets = tf.random.stateless_uniform([batch, 2], seed, -max_shift, max_shift + 1, tf.int32)
    rows = _mirrored(tf.range(height) + offsets[:, :1], height)  # [B, H]
    columns = _mirrored(tf.range(width) + offsets[:, 1:], width)  # [B, W]
    sources = rows[:, :, None] * width + columns[:, None, :]  # [B, H, W]
    pixels = tf.reshape(images, [batch, height * width, channels])
    moved = tf.gather(pixels, tf.reshape(sources, [batch, height * width]), axis=1, batch_dims=1)
    return tf.reshape(moved, [batch, height, width, channels])


def _mirrored(positions: tf.Tensor, length: int) -> tf.Tensor:
    return (length - 1) - tf.abs((length - 1) - tf.abs(positions))


def warp(
    images: tf.Tensor, seed: tf.Tensor, *, max_shift: int, max_rotation: float, max_zoom: float
) -> tf.Tensor:
    """Rotates, zooms and moves each image about its centre, and fills the gap with its edge.

    Bilinear, [B, H, W, C] float32. Shifts are in pixels and may be fractions of one, rotations in
    degrees either way; a `max_zoom` of 0.1 draws factors of 0.9 to 1.1.
    """
    height, width = images.shape[1:3]
    draws = tf.random.stateless_uniform([tf.shape(images)[0], 4], seed, -1.0, 1.0)
    angle, zoom, dy, dx = tf.unstack(draws, axis=1)  # [B] each, -1..1
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
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    return tf.ensure_shape(warped, images.shape)
