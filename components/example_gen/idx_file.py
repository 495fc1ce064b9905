"""One IDX file, gzipped or not, read by pieces: its header first, and no more than that declares.

Synopsis::

    images = read_images(Path("train-images-idx3-ubyte.gz"))
    images.values.shape, images.sha256       # (60000, 28, 28, 1), "ba89..."

The format is described at http://yann.lecun.com/exdb/mnist/: a big-endian magic number (two zero
bytes, the type, the number of dimensions), the sizes, then the values.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from components.example_gen.errors import DataError
from trainer.host.files import open_regular

# Images are held in memory. The largest known set in this format, EMNIST ByClass, has 547 MB.
MAX_BYTES = 2 << 30
# Labels are held as int64. These are eight times those of the largest set made of MNIST (8.1 M).
MAX_LABELS = 1 << 26

_PIECE_BYTES = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"

_Content = BinaryIO | gzip.GzipFile


@dataclasses.dataclass(frozen=True)
class _Kind:
    """What a file holds, by its magic number."""

    name: str
    magic: int
    header: struct.Struct
    max_values: int


# Unsigned bytes in three dimensions and in one; the sizes follow the magic number.
_IMAGES = _Kind("images", 0x00000803, struct.Struct(">IIII"), MAX_BYTES)
_LABELS = _Kind("labels", 0x00000801, struct.Struct(">II"), MAX_LABELS)
_KINDS = {kind.magic: kind for kind in (_IMAGES, _LABELS)}


@dataclasses.dataclass(frozen=True)
class IdxFile:
    """What a file holds.

    Attributes:
      values: images [N, H, W, 1] or labels [N], uint8.
      sha256: hexadecimal, of the uncompressed content.
    """

    values: np.ndarray
    sha256: str


def read_images(path: Path) -> IdxFile:
    """Reads a file of images.

    Raises:
      DataError: it cannot be read, or is no whole file of one image or more.
    """
    found = _read(path, _IMAGES)
    count, rows, columns = found.values.shape
    return dataclasses.replace(found, values=found.values.reshape(count, rows, columns, 1))


def read_labels(path: Path) -> IdxFile:
    """Reads a file of labels.

    Raises:
      DataError: it cannot be read, or is no whole file of labels.
    """
    return _read(path, _LABELS)


def unreadable(path: Path, error: OSError) -> DataError:
    """What the system says of a file or directory."""
    return DataError(
        f"{path}: cannot be read ({error.strerror or error}); expected a file that this user may "
        "read"
    )


def _read(path: Path, kind: _Kind) -> IdxFile:
    try:
        with open_regular(path, max_bytes=MAX_BYTES) as file, _uncompressed(file) as content:
            return _parse(path, content, kind)
    except EOFError as error:
        raise DataError(
            f"{path}: truncated gzip: it ends after {path.stat().st_size:,} compressed bytes, "
            "inside the stream; expected the stream's end: copy the file again"
        ) from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path}: {_gzip_damage(str(error))}; copy or download the file again"
        ) from error
    except OSError as error:
        raise unreadable(path, error) from error


@contextlib.contextmanager
def _uncompressed(file: BinaryIO) -> Iterator[_Content]:
    zipped = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    file.seek(0)
    if not zipped:
        yield file
        return
    with gzip.GzipFile(fileobj=file) as content:
        yield content


def _gzip_damage(reason: str) -> str:
    """What Python's messages mean (`gzip._GzipReader`)."""
    if reason.startswith(("CRC check failed", "Incorrect length")):
        return "a failed checksum: gzip's own does not match its content"
    if reason.startswith("Not a gzipped file"):
        return "trailing bytes after the gzip stream, expected nothing there"
    return f"damaged gzip ({reason})"


def _parse(path: Path, content: _Content, kind: _Kind) -> IdxFile:
    header = content.read(kind.header.size)
    shape = _shape(path, header, kind)
    declared = math.prod(shape)
    digest, values = hashlib.sha256(header), bytearray()
    while piece := content.read(min(_PIECE_BYTES, declared - len(values))):
        digest.update(piece)
        values += piece
    if len(values) < declared:
        whole = len(values) // math.prod(shape[1:])
        raise DataError(
            f"{path}: truncated: it holds {whole:,} {kind.name}, expected the {shape[0]:,} "
            "that its header declares; copy the file again"
        )
    if more := len(content.read(_PIECE_BYTES)):  # looks at gzip's checksum, too
        raise DataError(
            f"{path}: {more:,} trailing bytes{' or more' if more == _PIECE_BYTES else ''} after "
            f"the {shape[0]:,} {kind.name} that its header declares, expected none; copy the file "
            "again"
        )
    read_only = memoryview(values).toreadonly()
    return IdxFile(np.frombuffer(read_only, np.uint8).reshape(shape), digest.hexdigest())


def _shape(path: Path, header: bytes, kind: _Kind) -> tuple[int, ...]:
    """The sizes that the header declares, all of them possible."""
    if len(header) < kind.header.size:
        raise DataError(
            f"{path}: {len(header)} bytes long, expected an IDX header of {kind.header.size} bytes"
        )
    magic, *shape = kind.header.unpack(header)
    if magic != kind.magic:
        mixed_up = f": this is a file of {_KINDS[magic].name}" if magic in _KINDS else ""
        raise DataError(
            f"{path}: wrong IDX magic number {magic:#010x}, expected {kind.magic:#010x} "
            f"({kind.name}){mixed_up}"
        )
    if kind is _IMAGES and not shape[0]:
        raise DataError(f"{path}: holds no image (an empty split), expected at least one")
    if 0 in shape[1:]:
        raise DataError(f"{path}: images of {shape[1]}x{shape[2]} pixels, expected at least 1x1")
    if math.prod(shape) > kind.max_values:
        size = f" of {shape[1]}x{shape[2]} pixels" if kind is _IMAGES else ""
        raise DataError(
            f"{path}: its header declares {shape[0]:,} {kind.name}{size}, expected at most "
            f"{kind.max_values:,} {'pixels' if kind is _IMAGES else 'labels'}, which are held in "
            "memory: copy the file again, or give a part of the set"
        )
    return tuple(shape)
