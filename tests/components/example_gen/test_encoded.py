import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from pictures import picture
from PIL import Image

from components.example_gen.encoded import (
    HEAD_BYTES,
    BrokenImage,
    ImageFacts,
    is_image,
    is_named_as_image,
    look_at,
    storable,
    stored_shape,
)
from tests.refusals import refusal_of
from tests.trainer.image_files import (
    HEIGHT,
    WIDTH,
    declaring,
    encoded,
    exif,
    in_scans,
    png_of,
    pngs,
    transparent_png,
    with_segment,
)
from trainer import image_graph

PNGS = pngs()
COLOUR, GREY = picture(1), picture(1, mode="L")
EXIF_TURNED = Image.Exif()
EXIF_TURNED[0x0112] = 6  # a quarter turn clockwise makes it upright


def tinted(band: int) -> Image.Image:
    """Shades of red, green or blue."""
    black = Image.new("L", GREY.size)
    return Image.merge("RGB", [GREY if one == band else black for one in range(3)])


def short_header_bmp(*pixels: tuple[int, int, int]) -> bytes:
    """One row with the header of OS/2, of 12 bytes, where others have 40; Pillow writes none."""
    row = b"".join(map(bytes, pixels)) + bytes(-3 * len(pixels) % 4)
    header = struct.pack("<IHHHH", 12, len(pixels), 1, 1, 24)
    return b"BM" + struct.pack("<IHHI", 26 + len(row), 0, 0, 26) + header + row


def decoded(content: bytes) -> np.ndarray:
    """As TensorFlow sees the stored bytes."""
    return tf.io.decode_image(content, channels=3, expand_animations=False).numpy()


def seen(content: bytes) -> np.ndarray:
    """As Pillow shows them, the first frame of several."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_each_format_is_known_by_its_first_bytes(kind: str) -> None:
    assert is_image(encoded(COLOUR, kind)[:HEAD_BYTES])


@pytest.mark.parametrize(
    "head", [b"", b"BM", b"BMW is a car maker, not an image", b"RIFF1234WAVE", b"RIFX1234WEBP"]
)
def test_other_files_are_no_images(head: bytes) -> None:
    assert not is_image(head)


def test_a_tiff_is_none_of_the_formats() -> None:
    tiff = encoded(COLOUR, "TIFF")
    assert not is_image(tiff[:HEAD_BYTES])
    with pytest.raises(BrokenImage, match="begins like an image, and is none"):
        look_at(tiff)


@pytest.mark.parametrize("kind", ["TIFF", "WEBP"])
def test_a_model_takes_fewer_formats(kind: str) -> None:
    with pytest.raises(ValueError, match="cannot be read, expected a PNG, JPEG, BMP or GIF"):
        stored_shape(encoded(COLOUR, kind))


def test_a_name_says_what_should_be_an_image() -> None:
    assert [is_named_as_image(name) for name in ("a.JPG", "b/c.jpeg", "d.txt", "jpg")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("image", "kind", "facts"),
    [
        (GREY, "PNG", ImageFacts(12, 10, False, 1)),
        (COLOUR, "PNG", ImageFacts(12, 10, True, 3)),
        (GREY.convert("LA"), "PNG", ImageFacts(12, 10, False, 0)),
        (COLOUR.quantize(9), "PNG", ImageFacts(12, 10, True, 0)),
        (GREY.quantize(9), "GIF", ImageFacts(12, 10, False, 0)),
        *((tinted(band).quantize(9), "GIF", ImageFacts(12, 10, True, 0)) for band in range(3)),
        (GREY.convert("1"), "PNG", ImageFacts(12, 10, False, 0)),
        (COLOUR, "JPEG", ImageFacts(12, 10, True, 0)),
        (COLOUR.convert("CMYK"), "JPEG", ImageFacts(12, 10, True, 0)),
        (GREY, "JPEG", ImageFacts(12, 10, False, 0)),
        (COLOUR, "WEBP", ImageFacts(12, 10, True, 0)),
    ],
)
@pytest.mark.parametrize("whole", [False, True])
def test_size_colour_and_plainness_are_told(
    image: Image.Image, kind: str, facts: ImageFacts, whole: bool
) -> None:
    assert look_at(encoded(image, kind), whole=whole) == facts


@pytest.mark.parametrize("name", PNGS)
def test_png_of_every_colour_and_depth_are_read(name: str) -> None:
    facts = look_at(PNGS[name])
    is_colour = "grey" not in name and "black" not in name
    assert (facts.height, facts.width, facts.is_colour) == (HEIGHT, WIDTH, is_colour)


def test_16_bits_and_transparency_are_not_plain() -> None:
    deep = Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257)
    clear = encoded(COLOUR, transparency=(1, 2, 3))
    assert [look_at(content).plain for content in (encoded(deep), clear)] == [0, 0]


@pytest.mark.parametrize(
    ("orientation", "shown"),
    [
        *((None, (12, 10, 3)), (9, (12, 10, 3))),  # neither turns it
        *((1, (12, 10, 3)), (4, (12, 10, 0)), (5, (10, 12, 0)), (8, (10, 12, 0))),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_turned_image_has_the_size_that_it_is_seen_in(
    kind: str, orientation: int | None, shown: tuple[int, int, int]
) -> None:
    tags = Image.Exif()
    tags[0x0110] = "model of a camera"
    if orientation is not None:
        tags[0x0112] = orientation
    facts = look_at(encoded(COLOUR, kind, exif=tags))
    assert (facts.height, facts.width) == shown[:2]
    assert facts.plain == (shown[2] if kind == "PNG" else 0)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF"])
@pytest.mark.parametrize("whole", [False, True])
def test_an_image_of_too_many_pixels_is_refused_by_its_header(kind: str, whole: bool) -> None:
    for height, width in ((9_460, 9_470), (30_000, 20_000)):
        image = declaring(encoded(COLOUR, kind), height, width)
        line = f"is {height}x{width} pixels, expected at most 89,478,485 in all: scale it down"
        assert refusal_of(BrokenImage, look_at, image, whole=whole) == line
        with pytest.raises(BrokenImage, match=line):
            stored_shape(image)


def test_a_jpeg_of_more_scans_may_have_fewer_pixels() -> None:
    large = in_scans(picture(0, 1_000, 1_000), 1_600)
    line = "is 1000x1000 pixels in 1,600 scans, expected at most 1,423: store it anew"
    for look in (look_at, stored_shape):
        assert refusal_of(BrokenImage, look, large) == line
    assert look_at(in_scans(picture(0, 1_000, 1_000), 15)).height == 1_000
    assert look_at(in_scans(picture(0, 10, 10), 1_600)).height == 10
    # The mark of a scan, as the pixels of another format.
    marks = Image.new("RGB", (1_000, 1_000), (0xFF, 0xDA, 0xFF))
    assert look_at(encoded(marks, "BMP")).height == 1_000


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_an_image_that_ends_early_is_broken(kind: str) -> None:
    content = encoded(picture(1, 40, 40), kind)
    with pytest.raises(BrokenImage):
        look_at(content[: len(content) * 2 // 3])


def test_a_large_jpeg_that_ends_early_is_broken() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    content = encoded(Image.fromarray(noise), "JPEG")
    with pytest.raises(BrokenImage):
        look_at(content[:-2000])


@pytest.mark.parametrize(
    "content",
    [
        *(encoded(image) for image in (COLOUR, GREY, COLOUR.quantize(9), COLOUR.convert("RGBA"))),
        *(encoded(image, "JPEG") for image in (COLOUR, GREY, COLOUR.convert("CMYK"))),
        encoded(COLOUR, "JPEG", exif=EXIF_TURNED),
        encoded(COLOUR, "JPEG", comment=b"eXIf"),
        encoded(COLOUR, "GIF"),
        encoded(COLOUR, "BMP"),
    ],
)
def test_what_tensorflow_decodes_right_is_stored_as_it_is(content: bytes) -> None:
    assert storable(content) is content
    assert np.abs(decoded(content).astype(int) - seen(content)).max() <= 4  # two JPEG decoders


@pytest.mark.parametrize(
    "content",
    [
        encoded(COLOUR, "WEBP"),
        encoded(COLOUR, "WEBP", lossless=True),
        encoded(COLOUR.convert("RGBA"), "WEBP"),
        encoded(COLOUR.quantize(9), "BMP"),
        encoded(GREY, "BMP"),
        encoded(GREY.convert("1"), "BMP"),
        encoded(COLOUR.convert("RGBA"), "BMP"),
        encoded(COLOUR, "WEBP", save_all=True, append_images=[picture(2)]),
        encoded(COLOUR, "GIF", save_all=True, append_images=[picture(2)]),
        encoded(COLOUR, "GIF", save_all=True, append_images=[picture(2, 40, 40)])[:-40],
        short_header_bmp((1, 2, 3)),
        short_header_bmp((1, 2, 24), (0, 0, 0), (0, 0, 7)),  # as if of 24 bits in a long header
    ],
)
def test_what_tensorflow_cannot_decode_is_stored_as_png_of_the_same_pixels(content: bytes) -> None:
    stored = storable(content)
    assert stored.startswith(b"\x89PNG")
    np.testing.assert_array_equal(decoded(stored), seen(content))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_turned_image_whose_reader_would_not_turn_it_is_stored_upright(kind: str) -> None:
    stored = storable(encoded(COLOUR, kind, exif=EXIF_TURNED, lossless=True))
    np.testing.assert_array_equal(decoded(stored), np.rot90(np.asarray(COLOUR), -1))
    assert storable(stored) is stored


@pytest.mark.parametrize(
    ("depth", "values", "transparent"),
    [
        (2, [0, 1, 2, 3], [2]),
        (4, [0, 7, 15, 3], [15]),
        (16, [0, 0x1234, 0x8000], [0x1234]),
        (16, [[0x900, 0x800, 0x700], [0x3400, 0x1200, 0x5600]], [0x900, 0x800, 0x700]),
    ],
)
def test_what_a_turned_png_calls_transparent_stays_so(
    depth: int, values: list, transparent: list[int]
) -> None:
    upright, turned = (
        transparent_png(depth=depth, values=values, transparent=transparent, orientation=number)
        for number in (1, 6)
    )
    expected = np.rot90(image_graph.decoded(upright, least_side=1), -1)
    np.testing.assert_array_equal(image_graph.decoded(storable(turned), least_side=1), expected)


def test_a_png_is_turned_by_exif_behind_its_pixels_too() -> None:
    chunks = png_of({"eXIf": exif(6).removeprefix(b"Exif\0\0"), "IEND": b""})
    behind = encoded(COLOUR)[:-12] + chunks[8:]
    np.testing.assert_array_equal(decoded(storable(behind)), np.rot90(np.asarray(COLOUR), -1))


def test_equal_pixels_are_equal_bytes_whatever_the_file_says_of_itself() -> None:
    plain, described = (
        storable(encoded(COLOUR, "WEBP", lossless=True, **described))
        for described in ({}, {"icc_profile": b"a profile", "exif": Image.Exif()})
    )
    assert plain == described


def test_xmp_turns_nothing() -> None:
    tag = b'<x xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    content = with_segment(encoded(COLOUR, "JPEG"), b"http://ns.adobe.com/xap/1.0/\0" + tag)
    assert look_at(content).height == 12


def test_a_png_with_exif_that_turns_nothing_is_stored_as_it_is() -> None:
    tags = Image.Exif()
    tags[0x0112] = 1
    content = encoded(COLOUR, exif=tags)
    assert storable(content) is content
