"""Encoded images -> the pixels that the network sees; a part of the transform graph.

    to_pixels(encoded, ImageSpec((64, 48, 3), ("cat", "dog"), resize="pad"))    # [B, 64, 48, 3]

ExampleGen, Transform, the training and the exported model all call `to_pixels`.

Each image is decoded and resized by itself, with integers or by one kernel of the CPU, so that the
batch it stands in changes no bit of it. What Pillow decodes is the same to the last bit, because a
source and `predict` use Pillow for the formats that TensorFlow lacks; only the colours of a CMYK
JPEG may differ from Pillow's by one level. A JPEG that is much larger than the network's images is
decoded at a part of its size, in a fraction of the time and memory.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

from trainer.exif import orientation, upright
from trainer.features import MAX_PIXELS, SCAN, SCANS, ImageSpec
from trainer.gif_frame import first_frame

_OfImage = Callable[[tf.Tensor], tf.Tensor]

_PNG = b"\x89"
_HEADER_BYTES = 26  # at the start of a PNG or BMP, which hold its width and height
_JPEG = b"\xff"
_GIF = b"G"
_JPEG_PARTS = (2, 4, 8)  # it can be decoded at a half, a fourth or an eighth of its size
_LEFT_TO_RESIZE = 3  # with at least so many times the network's larger side on both of its own


def to_pixels(encoded: tf.Tensor, spec: ImageSpec) -> tf.Tensor:
    """Decodes images, [B] or [B, 1] strings, to the pixels that the network sees.

    Each is a PNG of the spec's shape; or, if the spec resizes, a PNG, JPEG, GIF or BMP of any size,
    which is decoded and resized by itself: no other image of the batch changes a bit of it.

    Returns [B, H, W, C] uint8. Fails on any other image.
    """
    with tf.device("CPU:0"):  # a GPU would resize otherwise, and wait for copies of each image
        return _traced(spec)(tf.reshape(encoded, [-1]))


@functools.cache
def _traced(spec: ImageSpec) -> _OfImage:
    """Returns what makes pixels of [B] strings, traced once: Transform calls it five times."""
    least_side = _LEFT_TO_RESIZE * max(spec.image_shape[:2])

    def one(image: tf.Tensor) -> tf.Tensor:
        return fitted(decoded(image, least_side), spec.image_shape, spec.resize)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string)])
    def pixels(images: tf.Tensor) -> tf.Tensor:
        if not spec.resize:
            return decode_png(images, spec.image_shape)
        signature = tf.TensorSpec(spec.image_shape, tf.uint8)
        return tf.map_fn(one, images, fn_output_signature=signature)

    return pixels


def decode_png(encoded: tf.Tensor, image_shape: tuple[int, int, int]) -> tf.Tensor:
    """Decodes PNG bytes, [B], to [B, H, W, C] uint8; fails on images of another shape."""
    height, width, channels = image_shape
    fits = tf.equal(tf.reshape(_png_sides(encoded), [-1, 2]), (width, height))  # [B, 2]
    images = _emptied_unless(tf.reduce_all(fits, axis=1), encoded)

    def decode_one(png: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_png(png, channels=channels)
        return tf.ensure_shape(image, [height, width, channels])

    return tf.map_fn(decode_one, images, fn_output_signature=tf.uint8)


def _emptied_unless(fits: tf.Tensor, encoded: tf.Tensor) -> tf.Tensor:
    """Empties images whose headers declare a size that does not fit, so that decoding them fails at
    once, and takes no memory: a file of a few kB may declare any size.

    An assertion would say more, but TensorFlow executes it where nothing is decoded, too.
    """
    return tf.where(fits, encoded, "")


def _declared(
    encoded: tf.Tensor, place: int, dtype: tf.DType, count: int, *, little: bool
) -> tf.Tensor:
    """Reads the numbers at a place of headers, [...] strings: [..., count]; 0 behind their end.

    TensorFlow's error of a place behind the end holds the bytes, which are no text: Python cannot
    make an exception of it.
    """
    head = tf.strings.join([tf.strings.substr(encoded, 0, _HEADER_BYTES), "\0" * _HEADER_BYTES])
    numbers = tf.strings.substr(head, place, count * dtype.size)
    return tf.io.decode_raw(numbers, dtype, little_endian=little)


_png_sides = functools.partial(_declared, place=16, dtype=tf.int32, count=2, little=False)
_png_depth = functools.partial(_declared, place=24, dtype=tf.uint8, count=1, little=False)
_bmp_sides = functools.partial(_declared, place=18, dtype=tf.int32, count=2, little=True)


def _times_decoded(jpeg: tf.Tensor) -> tf.Tensor:
    """Returns how often the pixels of a JPEG count for its scans: int32."""
    values = tf.io.decode_raw(jpeg, tf.uint8)
    starts = tf.equal(values[:-1], SCAN[0]) & tf.equal(values[1:], SCAN[1])
    return 1 + tf.math.count_nonzero(starts, dtype=tf.int32) // SCANS


def _if_small(sides: _OfImage, decode: _OfImage, encoded: tf.Tensor) -> tf.Tensor:
    """Decodes an image that declares sides, whose product is at most `MAX_PIXELS` pixels."""
    return decode(_emptied_unless(_is_small(sides(encoded)), encoded))


def _is_small(sides: tf.Tensor) -> tf.Tensor:
    return tf.reduce_prod(tf.abs(tf.cast(sides, tf.int64))) <= MAX_PIXELS


def decoded(encoded: tf.Tensor, least_side: int) -> tf.Tensor:
    """Decodes a PNG, JPEG, GIF (its first frame) or BMP (of 24 bits) to [h, w, 3] uint8.

    A JPEG is turned upright by its EXIF orientation; what is transparent is laid on black. Of 16
    bits the upper 8 are taken. Fails on any other content, and before it decodes on an image that
    declares more than `MAX_PIXELS` pixels.

    Args:
      least_side: a JPEG is decoded at the smallest of a half, a fourth and an eighth of its size
        that leaves both sides whole and at least so long, or else at its own size.
    """
    first = tf.strings.substr(encoded, 0, 1)
    decode: _OfImage = functools.partial(_if_small, _bmp_sides, tf.io.decode_bmp)
    # Not tf.switch_case: Transform cannot serialize its list of functions.
    for start, small in (
        (_GIF, _gif),
        (_JPEG, functools.partial(_upright_jpeg, least_side)),
        (_PNG, functools.partial(_if_small, _png_sides, _png_on_black)),
    ):
        decode = functools.partial(_either, tf.equal(first, start), small, decode)
    return tf.ensure_shape(decode(encoded), [None, None, 3])


def _either(holds: tf.Tensor, one: _OfImage, other: _OfImage, encoded: tf.Tensor) -> tf.Tensor:
    return tf.cond(holds, lambda: one(encoded), lambda: other(encoded))


def _gif(encoded: tf.Tensor) -> tf.Tensor:
    frame, sides = first_frame(encoded)
    small = _emptied_unless(_is_small(sides), frame)
    return tf.io.decode_image(small, channels=3, expand_animations=False)


def _png_on_black(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a PNG to its colours times their opacity, rounded: [h, w, 3] uint8."""
    image = tf.io.decode_png(encoded, channels=4)
    depth = _png_depth(encoded)[0]
    # Of images without opacity whose depth is below 8 bits, TensorFlow makes it 2^depth - 1.
    filler = tf.bitwise.left_shift(tf.constant(1, tf.uint8), tf.minimum(depth, 7)) - 1
    is_filled = (depth < 8) & tf.reduce_all(tf.equal(image[..., 3:], filler))
    opacity = tf.where(is_filled, tf.constant(255, tf.uint8), image[..., 3:])
    product = tf.cast(image[..., :3], tf.uint16) * tf.cast(opacity, tf.uint16) + 128
    # Rounded division by 255, in 16 bits.
    rounded = tf.bitwise.right_shift(product + tf.bitwise.right_shift(product, 8), 8)
    return tf.cast(rounded, tf.uint8)


def _upright_jpeg(least_side: int, encoded: tf.Tensor) -> tf.Tensor:
    sides = tf.io.extract_jpeg_shape(encoded)[:2]
    is_small = _is_small(tf.concat([sides, [_times_decoded(encoded)]], axis=0))
    decode: _OfImage = _decode_jpeg
    for part in _JPEG_PARTS:
        fits = tf.reduce_all(tf.equal(sides % part, 0) & (sides // part >= least_side))
        decode = functools.partial(
            _either, fits, functools.partial(_decode_jpeg, ratio=part), decode
        )
    return upright(decode(_emptied_unless(is_small, encoded)), orientation(encoded))


_decode_jpeg = functools.partial(tf.io.decode_jpeg, channels=3, dct_method="INTEGER_ACCURATE")


def fitted(image: tf.Tensor, image_shape: tuple[int, int, int], resize: str) -> tf.Tensor:
    """Makes [H, W, C] uint8, with 1 or 3 channels, of [h, w, 3] uint8.

    Args:
      resize: "stretch" distorts the image, "pad" keeps all of it between black margins, and "crop"
        takes the largest part in its middle that has the right aspect.
    """
    size = image_shape[:2]
    fit = {"stretch": _scaled, "pad": _padded, "crop": _cropped}[resize]
    is_fitting = tf.reduce_all(tf.equal(tf.shape(image)[:2], size))
    found = tf.cond(is_fitting, lambda: image, lambda: fit(image, *size))
    # Grey comes last, when the image is small; a grey image keeps its values.
    return grey(found) if image_shape[2] == 1 else found


def _scaled(image: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Resizes uint8, with a wider filter where that makes it smaller (antialiasing)."""
    values = tf.image.resize(image, [height, width], antialias=True)  # float32
    return tf.cast(tf.round(values), tf.uint8)


def _padded(image: tf.Tensor, height: int, width: int) -> tf.Tensor:
    rows, columns = tf.unstack(tf.shape(image)[:2])
    inner_height = tf.minimum(height, _times(rows, width, columns))
    inner_width = tf.minimum(width, _times(columns, height, rows))
    below, right = height - inner_height, width - inner_width
    margins = [[below // 2, below - below // 2], [right // 2, right - right // 2], [0, 0]]
    return tf.pad(_scaled(image, inner_height, inner_width), margins)


def _cropped(image: tf.Tensor, height: int, width: int) -> tf.Tensor:
    rows, columns = tf.unstack(tf.shape(image)[:2])
    kept_rows = tf.minimum(rows, _times(columns, height, width))
    kept_columns = tf.minimum(columns, _times(rows, width, height))
    top, left = (rows - kept_rows) // 2, (columns - kept_columns) // 2
    inner = image[top : top + kept_rows, left : left + kept_columns]
    return _scaled(inner, height, width)


def _times(number: tf.Tensor, numerator: tf.Tensor, denominator: tf.Tensor) -> tf.Tensor:
    """Returns number * numerator / denominator, rounded, at least 1: whole numbers, int32."""
    factors = [tf.cast(one, tf.int64) for one in (number, numerator, denominator)]
    rounded = (2 * factors[0] * factors[1] + factors[2]) // (2 * factors[2])
    return tf.cast(tf.maximum(rounded, 1), tf.int32)


def grey(image: tf.Tensor) -> tf.Tensor:
    """Returns the luma (ITU-R 601-2, as Pillow rounds it) of [h, w, 3] uint8: [h, w, 1] uint8."""
    levels = tf.cast(image, tf.int32)
    weighted = tf.reduce_sum(levels * [19595, 38470, 7471], axis=2, keepdims=True)
    return tf.cast(tf.bitwise.right_shift(weighted + (1 << 15), 16), tf.uint8)
