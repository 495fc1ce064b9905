"""The EXIF orientation of a JPEG, read and applied within a graph of TensorFlow.

upright(tf.io.decode_jpeg(encoded), orientation(encoded))
"""

from __future__ import annotations

import tensorflow as tf

_APP1 = b"\xff\xe1"  # the marker, before two bytes of length and the segment's name
_EXIF = b"Exif\x00\x00"
_HEAD_BYTES = 1 << 16
_ORIENTATION = 0x0112  # the tag
_SHORT = 3  # the type of two bytes
_MARGIN = 64  # zeros behind a file: what is read beyond its end is no valid EXIF


def upright(image: tf.Tensor, exif_orientation: tf.Tensor) -> tf.Tensor:
    """Turns and mirrors [h, w, C] by an orientation, 1 (upright) to 8 (EXIF 2.3, section 4.6.4)."""

    def is_one_of(*orientations: int) -> tf.Tensor:
        return tf.reduce_any(tf.equal(exif_orientation, orientations))

    def turned() -> tf.Tensor:
        turn = is_one_of(5, 6, 7, 8)
        found = tf.cond(turn, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
        found = tf.cond(is_one_of(2, 3, 6, 7), lambda: tf.reverse(found, [1]), lambda: found)
        return tf.cond(is_one_of(3, 4, 7, 8), lambda: tf.reverse(found, [0]), lambda: found)

    return tf.cond(exif_orientation > 1, turned, lambda: image)


def orientation(jpeg: tf.Tensor) -> tf.Tensor:
    """Returns the EXIF orientation of a JPEG, int32; 1 if it has none or a broken one.

    The segment is looked for in the first 64 KiB: it is the first of the file, or the second one.
    """
    head = tf.strings.substr(jpeg, 0, _HEAD_BYTES)
    values = tf.io.decode_raw(tf.strings.join([head, tf.constant(b"\0" * _MARGIN)]), tf.uint8)
    end = tf.size(values) - _MARGIN
    is_marker = tf.equal(values[:-1], _APP1[0]) & tf.equal(values[1:], _APP1[1])
    markers = tf.reshape(tf.cast(tf.where(is_marker), tf.int32), [-1])  # where each begins
    names = tf.gather(values, markers[:, tf.newaxis] + tf.range(4, 4 + len(_EXIF)))
    is_exif = tf.reduce_all(tf.equal(names, list(_EXIF)), axis=1)
    starts = tf.boolean_mask(markers, is_exif)[:1] + 4 + len(_EXIF)
    return tf.cond(
        tf.size(starts) > 0,
        lambda: _orientation_at(values, starts[0], end),
        lambda: tf.constant(1),
    )


def _orientation_at(values: tf.Tensor, start: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
    """Reads the first directory of the TIFF header at `start`."""
    big = tf.equal(values[start], ord("M"))
    offset = _number(values, start + 4, 4, big=big)
    directory = tf.minimum(start + tf.minimum(offset, end), end)
    count = _number(values, directory, 2, big=big)
    entries = directory + 2 + 12 * tf.range(count)  # [count], where each begins
    entries = tf.boolean_mask(entries, entries + 12 <= end)
    is_it = tf.equal(_number(values, entries, 2, big=big), _ORIENTATION)
    is_it &= tf.equal(_number(values, entries + 2, 2, big=big), _SHORT)
    found = _number(values, tf.boolean_mask(entries, is_it) + 8, 2, big=big)
    valid = tf.boolean_mask(found, (found >= 1) & (found <= 8))
    return tf.concat([valid, [1]], axis=0)[0]


def _number(values: tf.Tensor, at: tf.Tensor, size: int, *, big: tf.Tensor) -> tf.Tensor:
    """Reads whole numbers of 2 or 4 bytes at these places, big-endian or little-endian: int32.

    Those of 2^31 and more become smaller ones, which are still behind the end of any image.
    """
    numbers = tf.zeros_like(at)
    for place in range(size):
        step = tf.where(big, place, size - 1 - place)
        numbers = tf.minimum(numbers, (1 << 23) - 1) * 256 + tf.cast(
            tf.gather(values, at + step), tf.int32
        )
    return numbers
