"""Images of each format, colour and orientation, as the bytes of files."""

import io
import struct
import zlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from PIL import Image

WIDTH, HEIGHT = 21, 15


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture(width: int = WIDTH, height: int = HEIGHT, seed: int = 0) -> Image.Image:
    """A smooth one of random colours."""
    rng = np.random.default_rng(seed)
    spots = Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8))
    return spots.resize((width, height), Image.Resampling.BICUBIC)


def pngs() -> dict[str, bytes]:
    colour = picture()
    grey = colour.convert("L")
    see_through = colour.copy()
    see_through.putalpha(grey)
    evenly = colour.copy()
    evenly.putalpha(127)
    wide = np.random.default_rng(1).integers(0, 1 << 16, (HEIGHT, WIDTH, 4), np.uint16)
    level, pixel = grey.getpixel((3, 4)), colour.getpixel((3, 4))
    paletted = colour.quantize(13)
    return {
        "colour": encoded(colour, "PNG"),
        "grey": encoded(grey, "PNG"),
        "black and white": encoded(grey.convert("1"), "PNG"),
        "grey of 16 bits": encoded(Image.fromarray(wide[..., 0]), "PNG"),
        "colour of 16 bits": tf.io.encode_png(wide[..., :3]).numpy(),
        "see-through of 16 bits": tf.io.encode_png(wide).numpy(),
        "see-through grey of 16 bits": tf.io.encode_png(wide[..., :2]).numpy(),
        "palette": encoded(paletted, "PNG"),
        "palette of 1 bit": encoded(colour.quantize(2), "PNG", bits=1),
        "palette of 4 bits, see-through": encoded(
            colour.quantize(9), "PNG", bits=4, transparency=bytes([0, 15, 255, 128])
        ),
        "palette of 2 bits": encoded(colour.quantize(4), "PNG", bits=2),
        "palette with a transparent colour": encoded(paletted, "PNG", transparency=5),
        "see-through": encoded(see_through, "PNG"),
        "see-through evenly": encoded(evenly, "PNG"),
        "see-through grey": encoded(see_through.convert("LA"), "PNG"),
        "grey with a transparent level": encoded(grey, "PNG", transparency=level),
        "colour with a transparent one": encoded(colour, "PNG", transparency=pixel),
    }


def declaring(image: bytes, height: int, width: int) -> bytes:
    """A file whose header declares another size than its pixels have."""
    kind, at = image[:1], 0
    if kind == b"\x89":
        chunk = b"IHDR" + struct.pack(">II", width, height) + image[24:29]
        return image[:12] + chunk + struct.pack(">I", zlib.crc32(chunk)) + image[33:]
    if kind == b"\xff":
        at, sides = image.index(b"\xff\xc0") + 5, struct.pack(">HH", height, width)
    elif kind == b"G":
        at, sides = 6, struct.pack("<HH", width, height)
    else:
        at, sides = 18, struct.pack("<ii", width, height)
    return image[:at] + sides + image[at + len(sides) :]


def png_of(chunks: Mapping[str, bytes]) -> bytes:
    """A PNG file of these chunks, by name."""
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in chunks.items():
        checked = name.encode() + data
        checksum = struct.pack(">I", zlib.crc32(checked))
        content += struct.pack(">I", len(data)) + checked + checksum
    return content


def transparent_png(
    *, depth: int, values: list, transparent: list[int], orientation: int = 1
) -> bytes:
    """A PNG file of one row, with a grey or a colour that its tRNS chunk makes transparent.

    Args:
      depth: bits per value, 1, 2, 4, 8 or 16.
      values: of each pixel a grey, or its red, green and blue; Pillow writes no such file.
      transparent: the grey, or the red, green and blue.
    """
    row = np.array(values).reshape(-1)
    bits = (row[:, np.newaxis] >> np.arange(depth)[::-1]) & 1  # the highest first
    colour = 0 if len(transparent) == 1 else 2
    return png_of(
        {
            "IHDR": struct.pack(">IIBBBBB", len(values), 1, depth, colour, 0, 0, 0),
            "eXIf": exif(orientation).removeprefix(b"Exif\0\0"),
            "tRNS": np.array(transparent, ">u2").tobytes(),
            "IDAT": zlib.compress(b"\0" + np.packbits(bits).tobytes()),
            "IEND": b"",
        }
    )


def jpegs() -> dict[str, bytes]:
    colour = picture()
    return {
        "colour": encoded(colour, "JPEG", quality=80),
        "without subsampling": encoded(colour, "JPEG", subsampling=0),
        "progressive": encoded(colour, "JPEG", progressive=True),
        "grey": encoded(colour.convert("L"), "JPEG"),
        "CMYK": encoded(colour.convert("CMYK"), "JPEG"),
        **{f"orientation {number}": oriented(number) for number in range(1, 9)},
    }


def others() -> dict[str, bytes]:
    colour = picture()
    paletted = colour.quantize(13)
    return {
        "BMP": encoded(colour, "BMP"),
        "BMP, the upper row first": declaring(
            encoded(colour.transpose(Image.Transpose.FLIP_TOP_BOTTOM), "BMP"), -HEIGHT, WIDTH
        ),
        "GIF": encoded(paletted, "GIF"),
        "GIF with a transparent colour": encoded(paletted, "GIF", transparency=5),
        "GIF of two frames": encoded(
            paletted, "GIF", save_all=True, append_images=[picture(seed=1).quantize(13)]
        ),
    }


def all_files() -> Mapping[str, bytes]:
    return {
        **{f"PNG, {name}": image for name, image in pngs().items()},
        **{f"JPEG, {name}": image for name, image in jpegs().items()},
        **others(),
    }


def oriented(number: int, *, order: str = "little") -> bytes:
    """A JPEG with this EXIF orientation, written by hand in either order of bytes."""
    return with_segment(encoded(picture(), "JPEG", quality=90), exif(number, order=order))


def exif(orientation: int, *, order: str = "little", kind: int = 3) -> bytes:
    """The content of an EXIF segment: two tags, of which the second is the orientation."""
    mark = "<" if order == "little" else ">"
    tiff = struct.pack(f"{mark}2sHI", b"II" if order == "little" else b"MM", 42, 8)
    tags = struct.pack(f"{mark}HHHIHH", 2, 0x0100, 3, 1, 5, 0)
    tags += struct.pack(f"{mark}HHIHH", 0x0112, kind, 1, orientation, 0)
    return b"Exif\0\0" + tiff + tags + bytes(4)


def with_segment(jpeg: bytes, content: bytes, *, marker: int = 0xE1) -> bytes:
    """Puts an application segment behind the first one."""
    (length,) = struct.unpack_from(">H", jpeg, 4)
    at = 4 + length
    return jpeg[:at] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + jpeg[at:]


def in_scans(image: Image.Image, scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated: each is a pass over all pixels."""
    jpeg = encoded(image, "JPEG", progressive=True)
    last = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    return jpeg[:-2] + last * (scans - jpeg.count(b"\xff\xda")) + jpeg[-2:]
