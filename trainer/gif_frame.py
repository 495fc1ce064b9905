"""The first frame of a GIF, cut out before TensorFlow decodes: it decodes all frames, of any size.

    gif, sides = first_frame(tf.constant(content))      # b"GIF89a...;", (width, height)

https://www.w3.org/Graphics/GIF/spec-gif89a.txt describes the blocks.
"""

from __future__ import annotations

import tensorflow as tf

_SCREEN, _SCREEN_FLAGS, _HEADER_BYTES = 6, 10, 13
_EXTENSION, _EXTENSION_BYTES = 0x21, 2
_FRAME, _FRAME_SIDES, _FRAME_FLAGS, _FRAME_BYTES = 0x2C, 5, 9, 11


def first_frame(gif: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the GIF that ends with its first frame, if it has one, and its (width, height), [2]
    int32: the larger ones of the frame and of the screen.
    """
    content = tf.io.decode_raw(tf.strings.join([gif, "\0"]), tf.uint8)
    last = tf.size(content) - 1

    def byte(at: tf.Tensor | int) -> tf.Tensor:
        return tf.cast(content[tf.minimum(at, last)], tf.int32)

    def sides(at: tf.Tensor | int) -> tf.Tensor:
        width, height = (byte(at + place) + 256 * byte(at + place + 1) for place in (0, 2))
        return tf.stack([width, height])

    def colours(flags: tf.Tensor) -> tf.Tensor:
        return tf.where(flags >= 128, 3 * tf.bitwise.left_shift(2, flags % 8), 0)

    def behind_parts(at: tf.Tensor) -> tf.Tensor:
        """Data lie in parts of up to 255 bytes, each behind its length; the last one is empty."""

        def next_part(at: tf.Tensor, length: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return at + 1 + length, byte(at + 1 + length)

        end, _ = tf.while_loop(lambda at, length: length > 0, next_part, (at, byte(at)))
        return end + 1

    (start,) = tf.while_loop(
        lambda at: tf.equal(byte(at), _EXTENSION),
        lambda at: (behind_parts(at + _EXTENSION_BYTES),),
        (_HEADER_BYTES + colours(byte(_SCREEN_FLAGS)),),
    )
    end = behind_parts(start + _FRAME_BYTES + colours(byte(start + _FRAME_FLAGS)))
    is_frame = tf.equal(byte(start), _FRAME)
    drawn = tf.where(is_frame, sides(start + _FRAME_SIDES), 0)
    cut = tf.strings.substr(gif, 0, tf.where(is_frame, end, start))
    return tf.strings.join([cut, ";"]), tf.maximum(drawn, sides(_SCREEN))
