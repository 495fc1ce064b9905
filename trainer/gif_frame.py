"""The first frame of a GIF, cut out before TensorFlow decodes: it decodes all frames, of any size.

    gif, sides = first_frame(tf.constant(content))      # b"GIF89a...;", (width, height)

https://www.w3.org/Graphics/GIF/spec-gif89a.txt describes the blocks.
"""

from __future__ import annotations

import tensorflow as tf

_SCREEN, _SCREEN_FLAGS, _HEADER_BYTES = 6, 10, 13
_EXTENSION, _FRAME = 0x21, 0x2C  # what blocks begin with
_FRAME_SIDES, _FRAME_FLAGS, _FRAME_BYTES = 5, 9, 10
_BETWEEN, _IN_EXTENSION, _IN_FRAME, _ENDED = range(4)  # where the walk is
# Data lie in parts of up to 255 bytes. Each part takes a step, and shorter ones more time than it
# takes to decode them.
_LEAST_STEPS, _BYTES_PER_STEP = 64, 32


def first_frame(gif: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the GIF that ends with its first frame, and its (width, height), [2] int32: the
    larger ones of the frame and of the screen.

    The GIF is empty if the frame stands in very short parts; one without a frame stays without.
    """
    content = tf.io.decode_raw(tf.strings.join([gif, "\0"]), tf.uint8)
    last = tf.size(content) - 1

    def byte(at: tf.Tensor) -> tf.Tensor:
        return tf.cast(content[tf.minimum(at, last)], tf.int32)

    def sides(at: tf.Tensor) -> tf.Tensor:
        width, height = (byte(at + place) + 256 * byte(at + place + 1) for place in (0, 2))
        return tf.stack([width, height])

    def colours(flags: tf.Tensor) -> tf.Tensor:
        return tf.where(flags >= 128, 3 * tf.bitwise.left_shift(2, flags % 8), 0)

    def step(at: tf.Tensor, state: tf.Tensor, frame: tf.Tensor) -> tuple[tf.Tensor, ...]:
        first, between = byte(at), tf.equal(state, _BETWEEN)
        is_extension = between & tf.equal(first, _EXTENSION)
        is_frame = between & tf.equal(first, _FRAME)
        data = at + _FRAME_BYTES + colours(byte(at + _FRAME_FLAGS)) + 1
        after = tf.where(tf.equal(state, _IN_FRAME), _ENDED, _BETWEEN)  # the data that end here
        inside = tf.where(tf.equal(first, 0), after, state)
        begun = tf.where(is_frame, _IN_FRAME, tf.where(is_extension, _IN_EXTENSION, _ENDED))
        return (
            tf.where(is_frame, data, tf.where(is_extension, at + 2, at + 1 + first)),
            tf.where(between, begun, inside),
            tf.where(is_frame, at, frame),
        )

    start = _HEADER_BYTES + colours(byte(tf.constant(_SCREEN_FLAGS)))
    end, state, frame = tf.while_loop(
        lambda at, state, frame: tf.not_equal(state, _ENDED),
        step,
        (start, tf.constant(_BETWEEN), tf.constant(0)),
        maximum_iterations=_LEAST_STEPS + last // _BYTES_PER_STEP,
    )
    cut = tf.strings.join([tf.strings.substr(gif, 0, end), ";"])
    drawn = tf.where(frame > 0, sides(frame + _FRAME_SIDES), 0)
    declared = tf.maximum(drawn, sides(tf.constant(_SCREEN)))
    return tf.where(tf.equal(state, _ENDED), cut, ""), declared
