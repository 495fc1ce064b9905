"""Encoded images of people's own files: what they are, and the bytes that are stored for them.

Synopsis::

    if is_image(content[:HEAD_BYTES]):
        facts = look_at(content)       # decodes the image whole, or raises BrokenImage
        stored = storable(content)     # the same bytes, or a PNG where TensorFlow would fail
"""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Iterator
from pathlib import PurePath
from typing import NamedTuple

from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from trainer.features import MAX_PIXELS, SCAN, SCANS

Image.MAX_IMAGE_PIXELS = None  # `opened` has the same bound, and says which size was found

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
SUFFIXES = frozenset([".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif"])
HEAD_BYTES = 32

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_HEADER_BYTES = 26  # signature, IHDR's length and name, width, height, depth, colour type
# Colour type -> channels (PNG specification, section 11.2.2). A palette decodes to any number.
PNG_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
_OTHER_FORMATS = ("JPEG", "BMP", "GIF")
_JPEG = b"\xff\xd8\xff"
_STARTS = (PNG_SIGNATURE, _JPEG, b"GIF87a", b"GIF89a")
_BMP_HEADER_BYTES = frozenset([12, 40, 52, 56, 64, 108, 124])
_PLAIN_PNG = {(8, 0): 1, (8, 2): 3}  # (bit depth, colour type) -> channels
_TURNED = 5  # EXIF orientations from here on exchange height and width
_ORIENTATION = 0x0112
_TRANSPARENT = "transparency"  # Pillow's key for the tRNS chunk
# Pillow's names for pixels as a PNG file holds them.
_GREY_LEVELS = {"L;2": 3, "L;4": 15}  # the highest value
_COLOUR_OF_16_BITS = "RGB;16B"


class BrokenImage(ValueError):
    """The bytes of an image that cannot be decoded whole."""


class ImageFacts(NamedTuple):
    """An image as it is seen: upright, by its EXIF orientation.

    `plain` is the number of channels of a PNG of 8 bits without transparency, which every reader
    decodes to the same pixels, and 0 for any other image.
    """

    height: int
    width: int
    is_colour: bool
    plain: int


def is_image(head: bytes) -> bool:
    """Tells by the first `HEAD_BYTES` bytes whether a file has one of the `FORMATS`."""
    if head.startswith(_STARTS):
        return True
    if head.startswith(b"BM") and len(head) >= 18:
        return struct.unpack_from("<I", head, 14)[0] in _BMP_HEADER_BYTES
    return head.startswith(b"RIFF") and head[8:12] == b"WEBP"


def is_named_as_image(path: str) -> bool:
    """Tells by a file's name whether it should be an image."""
    return PurePath(path).suffix.lower() in SUFFIXES


@contextlib.contextmanager
def opened(content: bytes, formats: tuple[str, ...] = FORMATS) -> Iterator[Image.Image]:
    """Opens an image without decoding it.

    Raises BrokenImage as `require_decodable`, and Pillow's errors for other bytes.
    """
    with Image.open(io.BytesIO(content), formats=formats) as image:
        scans = content.count(SCAN) if content.startswith(_JPEG) else 0
        require_decodable(image.height, image.width, scans)
        _scale_transparency(image)
        yield image


def _scale_transparency(image: Image.Image) -> None:
    """Brings the tRNS chunk to the depth of the pixels: Pillow makes 8 bits of the pixels only.

    Of a colour of 16 bits the upper 8 decide, since Pillow keeps no others.
    """
    transparent = image.info.get(_TRANSPARENT)
    if transparent is None or not isinstance(image, PngImagePlugin.PngImageFile):
        return
    stored = image.tile[0][3]  # how the file holds the pixels; Pillow forgets it when it reads them
    if stored in _GREY_LEVELS:
        image.info[_TRANSPARENT] = transparent * 255 // _GREY_LEVELS[stored]
    elif stored == _COLOUR_OF_16_BITS:
        image.info[_TRANSPARENT] = tuple(value >> 8 for value in transparent)


def require_decodable(height: int, width: int, scans: int = 0) -> None:
    """Raises BrokenImage for a size of more than `MAX_PIXELS`, before the pixels take memory, and
    for so many scans of a JPEG that they take as long.
    """
    if height * width > MAX_PIXELS:
        raise BrokenImage(
            f"is {height}x{width} pixels, expected at most {MAX_PIXELS:,} in all: scale it down"
        )
    most = SCANS * (MAX_PIXELS // max(height * width, 1)) - 1
    if scans > most:
        raise BrokenImage(
            f"is {height}x{width} pixels in {scans:,} scans, expected at most {most:,}: store it "
            "anew"
        )


def look_at(content: bytes, *, whole: bool = True) -> ImageFacts:
    """Decodes an image, of a GIF the first frame, or reads its header alone; raises BrokenImage."""
    try:
        with opened(content) as image:
            width, height = image.size
            plain = _plain_channels(content, image)
            is_colour = _is_colour(content, image)
            if whole:
                # A JPEG is still read to its end, but drawn at an eighth of its size.
                image.draft(image.mode, (1, 1))
                image.load()
            orientation = _orientation(image)
    except UnidentifiedImageError as error:  # its text has the address of an object
        raise BrokenImage("begins like an image, and is none") from error
    except Exception as error:  # Pillow raises errors of many kinds on damaged files
        raise BrokenImage(str(error) or type(error).__name__) from error
    if orientation >= _TURNED:
        height, width = width, height
    return ImageFacts(height, width, is_colour, plain if orientation == 1 else 0)


def stored_shape(image: bytes) -> tuple[int, int, int]:
    """Reads (height, width, channels) from an image's header; a palette has 3 channels.

    Raises ValueError if that is no image of a format that a model takes, or one of too many pixels.
    """
    if image.startswith(PNG_SIGNATURE) and len(image) >= PNG_HEADER_BYTES:
        width, height, _, colour = struct.unpack_from(">IIBB", image, 16)
        require_decodable(height, width)
        return height, width, PNG_CHANNELS.get(colour, 3)
    try:
        with opened(image, _OTHER_FORMATS) as found:
            bands = 3 if found.mode == "P" else len(found.getbands())
            return found.height, found.width, bands
    except BrokenImage:
        raise
    except Exception as error:  # Pillow raises errors of many kinds on damaged files
        raise ValueError("cannot be read, expected a PNG, JPEG, BMP or GIF") from error


def storable(content: bytes) -> bytes:
    """Returns the bytes of an image as they are, or as a PNG of the same pixels.

    TensorFlow has no decoder for WebP, reads no other BMP than one of 24 bits per pixel right, and
    decodes all frames of a GIF. Nobody turns a PNG by its EXIF orientation: it is stored upright.
    """
    if content.startswith(b"BM"):
        as_it_is = _is_bmp_of_24_bits(content)
    elif content.startswith(b"GIF"):
        as_it_is = not _is_animated(content)
    else:
        as_it_is = content.startswith(_STARTS) and not _is_turned_png(content)
    return content if as_it_is else _as_png(content)


def _is_bmp_of_24_bits(content: bytes) -> bool:
    if len(content) < 34 or struct.unpack_from("<I", content, 14)[0] < 40:
        return False
    bits, compression = struct.unpack_from("<HI", content, 28)
    return bool(bits == 24 and compression == 0)


def _is_turned_png(content: bytes) -> bool:
    if not content.startswith(PNG_SIGNATURE) or b"eXIf" not in content:
        return False
    with opened(content, ("PNG",)) as image:
        image.load()  # the chunk may stand behind the pixels
        return _orientation(image) != 1


def _is_animated(content: bytes) -> bool:
    with opened(content, ("GIF",)) as image:
        return bool(getattr(image, "is_animated", False))


def _as_png(content: bytes) -> bytes:
    with opened(content) as image:
        upright = ImageOps.exif_transpose(image)
        # Neither EXIF nor a colour profile.
        upright.info = {name: value for name, value in upright.info.items() if name == _TRANSPARENT}
        png = io.BytesIO()
        upright.save(png, "PNG", compress_level=1)
        return png.getvalue()


def _orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation, 1 (upright) to 8; 1 if there is none."""
    if "exif" not in image.info:
        return 1
    value = image.getexif().get(_ORIENTATION, 1)
    return value if value in range(1, 9) else 1


def _is_colour(content: bytes, image: Image.Image) -> bool:
    if image.mode == "P":
        levels = image.getpalette() or []
        return not levels[0::3] == levels[1::3] == levels[2::3]
    if image.format == "PNG":  # Pillow makes colour of grey with 16 bits and an alpha channel
        return PNG_CHANNELS.get(content[25], 3) > 2
    return image.mode not in ("1", "L")


def _plain_channels(content: bytes, image: Image.Image) -> int:
    if image.format != "PNG" or _TRANSPARENT in image.info:
        return 0
    return _PLAIN_PNG.get((content[24], content[25]), 0)
