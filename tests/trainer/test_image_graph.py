import io
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from components.serving_check.classifier import read_pixels
from tests.trainer import image_files
from tests.trainer.image_files import (
    HEIGHT,
    WIDTH,
    declaring,
    encoded,
    in_scans,
    picture,
    with_segment,
)
from trainer.features import RESIZES, ImageSpec
from trainer.gif_frame import first_frame
from trainer.image_graph import to_pixels

FILES = image_files.all_files()
OWN = (HEIGHT, WIDTH, 3)


def pixels_of(image: bytes, shape: tuple[int, int, int], resize: str = "pad") -> np.ndarray:
    return to_pixels(tf.constant([image]), ImageSpec(shape, ("a", "b"), resize))[0].numpy()


def by_pillow(image: bytes, shape: tuple[int, int, int], file: Path) -> np.ndarray:
    if not image.startswith((b"GIF", b"BM")):
        file.write_bytes(image)
        return read_pixels(file, shape)
    with Image.open(io.BytesIO(image)) as opened:
        black = Image.new("RGBA", opened.size, (0, 0, 0, 255))
        flat = Image.alpha_composite(black, opened.convert("RGBA")).convert("RGB")
    return np.asarray(flat if shape[2] == 3 else flat.convert("L")).reshape(shape)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", FILES)
def test_every_format_is_decoded_to_pillows_pixels(
    name: str, channels: int, tmp_path: Path
) -> None:
    turned = "orientation" in name and int(name[-1]) > 4
    shape = (*((WIDTH, HEIGHT) if turned else (HEIGHT, WIDTH)), channels)
    expected = by_pillow(FILES[name], shape, tmp_path / "image")
    np.testing.assert_array_equal(pixels_of(FILES[name], shape), expected)


@pytest.mark.parametrize(
    "content",
    [b"", b"no image", b"\x89PNG", b"\xff\xd8\xff", b"GIF89a", b"BM", b"RIFF1234WEBPVP8 "],
)
def test_what_is_no_image_fails(content: bytes) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        pixels_of(content, OWN)


def test_of_a_png_cut_short_the_decoder_alone_fails() -> None:
    # Of two operations that fail, either may be reported.
    png = encoded(picture(), "PNG")
    for end in range(1, 26):
        for _ in range(5):
            with pytest.raises(tf.errors.InvalidArgumentError, match="DecodePng"):
                pixels_of(png[:end], OWN)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_bmp_of_fewer_bits_fails_since_its_palette_would_be_lost(channels: int) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        pixels_of(encoded(picture().convert("P"), "BMP"), (HEIGHT, WIDTH, channels))


@pytest.mark.parametrize("resize", RESIZES)
def test_an_image_of_the_networks_size_is_not_touched(resize: str) -> None:
    expected = np.asarray(picture())
    np.testing.assert_array_equal(pixels_of(encoded(picture(), "PNG"), OWN, resize), expected)


def fully(value: int, width: int, height: int) -> bytes:
    return encoded(Image.new("RGB", (width, height), (value,) * 3), "PNG")


def test_pad_keeps_all_of_the_image_between_black_margins() -> None:
    shape = (9, 12, 1)
    wide = pixels_of(fully(200, 40, 22), shape)  # 12x6.6, and one row above, one below
    np.testing.assert_array_equal(wide[:, 0, 0], [0, *[200] * 7, 0])
    high = pixels_of(fully(200, 15, 45), shape)  # 3x9, and 4 columns on the left, 5 right
    np.testing.assert_array_equal(high[..., 0], [[*[0] * 4, *[200] * 3, *[0] * 5]] * 9)
    low = pixels_of(fully(200, 27, 9), shape)  # of the network's height
    np.testing.assert_array_equal(low[:, 0, 0], [0, 0, *[200] * 4, 0, 0, 0])
    thin = pixels_of(fully(200, 500, 1), shape)  # at least one row is left
    np.testing.assert_array_equal(thin[:, 0, 0], [*[0] * 4, 200, *[0] * 4])
    long = pixels_of(fully(200, 1_000_000, 1), (1100, 1100, 1))  # their product exceeds 32 bits
    np.testing.assert_array_equal(long[549], np.full((1100, 1), 200))


def test_crop_takes_the_middle() -> None:
    middle = np.asarray(picture(20, 20))
    for before, behind in ((5, 6), (20, 20)):
        for margins in (((0, 0), (before, behind)), ((before, behind), (0, 0))):
            image = np.pad(middle, (*margins, (0, 0)))
            expected, cropped = (
                pixels_of(encoded(Image.fromarray(each), "PNG"), (10, 10, 3), resize)
                for each, resize in ((middle, "stretch"), (image, "crop"))
            )
            np.testing.assert_array_equal(cropped, expected)


def test_stretch_keeps_no_aspect() -> None:
    image = np.zeros((20, 60, 3), np.uint8)
    image[:, 30:] = 200
    stretched = pixels_of(encoded(Image.fromarray(image), "PNG"), (10, 10, 1), "stretch")
    np.testing.assert_array_equal(stretched[:, [0, 1, 8, 9], 0], [[0, 0, 200, 200]] * 10)


def test_what_becomes_smaller_is_antialiased_as_by_pillow() -> None:
    large = picture(257, 131)
    ours = pixels_of(encoded(large, "PNG"), (32, 32, 3), "stretch").astype(int)
    theirs = np.asarray(large.resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(ours - theirs).max() <= 1
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    ours = pixels_of(encoded(Image.fromarray(stripes), "PNG"), (9, 9, 1), "stretch").astype(int)
    assert np.abs(ours - 128).max() < 16  # no moiré


@pytest.mark.parametrize(
    ("height", "width", "part"),
    [(192, 384, 8), (192, 380, 4), (96, 1000, 4), (48, 48, 2), (46, 48, 1), (193, 384, 1)],
)
def test_a_jpeg_is_decoded_at_a_part_of_its_size_that_leaves_enough_to_resize(
    height: int, width: int, part: int
) -> None:
    jpeg = encoded(picture(width, height), "JPEG", quality=90)
    smaller = tf.io.decode_jpeg(jpeg, channels=3, ratio=part, dct_method="INTEGER_ACCURATE")
    assert smaller.shape[:2] == (height // part, width // part)
    expected = pixels_of(tf.io.encode_png(smaller).numpy(), (8, 6, 3), "stretch")
    found = pixels_of(jpeg, (8, 6, 3), "stretch")
    np.testing.assert_array_equal(found, expected)
    whole = tf.io.encode_png(tf.io.decode_jpeg(jpeg, channels=3)).numpy()
    assert np.abs(found.astype(int) - pixels_of(whole, (8, 6, 3), "stretch")).max() <= 5


@pytest.mark.parametrize("resize", RESIZES)
def test_a_large_jpeg_is_turned_and_fitted_like_a_small_one(resize: str) -> None:
    upright = picture(384, 192)
    turned = encoded(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=oriented_as(6))
    expected = pixels_of(encoded(upright, "PNG"), (8, 6, 3), resize).astype(int)
    assert np.abs(pixels_of(turned, (8, 6, 3), resize) - expected).max() <= 2


def oriented_as(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_large_jpeg_of_other_colours_is_decoded_at_a_part_of_its_size(mode: str) -> None:
    jpeg = encoded(picture(384, 192).convert(mode), "JPEG", quality=90)
    with Image.open(io.BytesIO(jpeg)) as opened:
        png = encoded(opened.convert("RGB"), "PNG")
    expected = pixels_of(png, (8, 6, 3)).astype(int)
    assert np.abs(pixels_of(jpeg, (8, 6, 3)) - expected).max() <= 2


def test_a_large_jpeg_that_is_cut_short_fails() -> None:
    jpeg = encoded(picture(384, 192), "JPEG")
    for length in (len(jpeg) // 2, len(jpeg) - 2):
        with pytest.raises(tf.errors.InvalidArgumentError):
            pixels_of(jpeg[:length], (8, 6, 3))


def test_no_other_image_of_the_batch_changes_a_bit() -> None:
    images = list(FILES.values())
    spec = ImageSpec((16, 16, 3), ("a", "b"), "pad")
    together = to_pixels(tf.constant(images)[:, tf.newaxis], spec)
    for image, pixels in zip(images, together, strict=True):
        np.testing.assert_array_equal(pixels, pixels_of(image, spec.image_shape))


def refusal(image: bytes, resize: str, shape: tuple[int, int, int] = (8, 8, 3)) -> str:
    with pytest.raises(tf.errors.InvalidArgumentError) as refused:
        pixels_of(image, shape, resize)
    return str(refused.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP"])
def test_an_image_that_declares_too_many_pixels_is_not_decoded(kind: str) -> None:
    image = encoded(picture(8, 8), kind)
    for side in (9_460, 46_400):  # the square of the latter exceeds 32 bits
        assert "nput is empty" in refusal(declaring(image, side, side), "pad")
    if kind == "BMP":  # the upper row first
        assert "nput is empty" in refusal(declaring(image, -9_460, 9_460), "pad")
    assert "nput is empty" not in refusal(declaring(image, 9_459, 9_459)[:60], "pad")
    assert pixels_of(declaring(image, 8, 8), (8, 8, 3)).shape == (8, 8, 3)


def test_of_a_gif_only_the_first_frame_is_decoded() -> None:
    still = encoded(picture(8, 8), "GIF")
    more = [picture(8, 8), picture(8, 8).rotate(90)]
    animated = encoded(picture(8, 8), "GIF", save_all=True, append_images=more)
    expected = pixels_of(still, (8, 8, 3))
    np.testing.assert_array_equal(pixels_of(animated, (8, 8, 3)), expected)
    # A frame may be larger than the screen that the header declares.
    sides = re.compile(rb"(\x2c\0\0\0\0)\x08\0\x08\0")
    first, *_, last = (found.start(1) + 5 for found in sides.finditer(animated))
    assert "nput is empty" in refusal(enlarged(animated, first), "pad")
    np.testing.assert_array_equal(pixels_of(enlarged(animated, last), (8, 8, 3)), expected)


def enlarged(gif: bytes, at: int) -> bytes:
    return gif[:at] + b"\xff\xff\xff\xff" + gif[at + 4 :]


def test_a_gif_may_hold_comments_before_its_frame() -> None:
    gif = encoded(picture(8, 8), "GIF")
    at = 13 + 3 * (2 << (gif[10] & 7))  # behind the header and its colours
    comments = b"\x21\xfe\x04text\0" + b"\x21\xfe" + b"\x01x" * 10_000 + b"\0"
    with_text = gif[:at] + comments + gif[at:]
    np.testing.assert_array_equal(pixels_of(with_text, (8, 8, 3)), pixels_of(gif, (8, 8, 3)))


def test_the_two_colours_of_a_gif_may_lie_in_its_frame() -> None:
    screen, frame = b"GIF89a\x08\0\x08\0", b"\x2c\0\0\0\0\x08\0\x08\0"
    colours, data = bytes(range(1, 7)), b"\x02\x01\x44\0"
    for gif in (
        screen + b"\x80\0\0" + colours + frame + b"\0" + data,
        screen + b"\0\0\0" + frame + b"\x80" + colours + data,
    ):
        cut, sides = first_frame(tf.constant(gif + frame + b"\0" + data))
        assert (cut.numpy(), list(sides)) == (gif + b";", [8, 8])


def test_a_jpeg_of_more_scans_may_have_fewer_pixels() -> None:
    # Each scan takes time for all pixels: 15 of 89 million, or 1,600 of 0.9 million.
    large, small = picture(1000, 1000), picture(8, 8)
    assert pixels_of(in_scans(large, 15), (8, 8, 3)).shape == (8, 8, 3)
    assert "nput is empty" in refusal(in_scans(large, 1_600), "pad")
    assert pixels_of(in_scans(small, 1_600), (8, 8, 3)).shape == (8, 8, 3)


def test_the_pixels_of_a_jpeg_count_once_for_each_16_scans() -> None:
    jpeg = encoded(picture(1000, 1000), "JPEG")
    scans = jpeg.count(b"\xff\xda")
    # In a comment, where they take no time. 89 times 1 million are allowed, and not 90 times.
    most, more = (
        with_segment(jpeg, b"\xff\xda" * (count - scans), marker=0xFE)
        for count in (89 * 16 - 1, 89 * 16)
    )
    assert pixels_of(most, (8, 8, 3)).shape == (8, 8, 3)
    assert "nput is empty" in refusal(more, "pad")


def test_a_model_that_does_not_resize_decodes_no_image_of_another_size() -> None:
    png = encoded(picture(8, 6), "PNG")
    np.testing.assert_array_equal(pixels_of(png, (6, 8, 3), ""), picture(8, 6))
    for image in (
        *(declaring(png, *sides) for sides in ((6, 20_000), (20_000, 8), (8, 6))),
        encoded(picture(8, 6), "JPEG"),
    ):
        assert "nput is empty" in refusal(image, "", (6, 8, 3))


def test_no_images_are_no_pixels() -> None:
    none = to_pixels(tf.constant([], tf.string), ImageSpec((8, 8, 1), ("a", "b")))
    assert len(none) == 0
