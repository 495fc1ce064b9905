"""Reads an IDX file, gzipped or not, by pieces: its header first, and no more than it declares.

The format is described at http://yann.lecun.com/exdb/mnist/: a big-endian magic number (two zero
bytes, the type, the number of dimensions), the sizes, then the values.
"""

from __future__ import annotations

import dataclasses
import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from components.example_gen.data_error import DataError
from trainer.host.files import open_regular

if TYPE_CHECKING:
    from hashlib import _Hash

# The largest known set in this format, EMNIST ByClass, has 547 MB of pixels.
MAX_BYTES = 2 << 30
# Eight times those of the largest set made of MNIST (8.1 M).
MAX_LABELS = 1 << 26

_ROWS_AT_ONCE = 1000
_BYTES_AT_ONCE = 16 << 20
_PIECE_BYTES = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"


@dataclasses.dataclass(frozen=True)
class IdxKind:
    """The content of a file, by its magic number."""

    name: str
    magic: int
    header: struct.Struct
    max_values: int


# Unsigned bytes in three dimensions and in one; the sizes follow the magic number.
IMAGES = IdxKind("images", 0x00000803, struct.Struct(">IIII"), MAX_BYTES)
LABELS = IdxKind("labels", 0x00000801, struct.Struct(">II"), MAX_LABELS)
_KINDS = {kind.magic: kind for kind in (IMAGES, LABELS)}


def read_idx(path: Path, kind: IdxKind, digest: _Hash) -> Iterator[np.ndarray]:
    """Yields images [n, H, W] or labels [n], uint8; updates `digest` with the uncompressed content.

    A DataError says why the file cannot be read to its end; batches may have been yielded before.
    """
    try:
        with open_regular(path, max_bytes=MAX_BYTES) as file:
            yield from _read(path, _uncompressed(file), kind, digest)
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


def unreadable(path: Path, error: OSError) -> DataError:
    """Returns the error for a file or directory that the system does not let us read."""
    return DataError(
        f"{path}: cannot be read ({error.strerror or error}); expected a file that this user may "
        "read"
    )


def _uncompressed(file: BinaryIO) -> BinaryIO | gzip.GzipFile:
    zipped = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    file.seek(0)
    return gzip.GzipFile(fileobj=file) if zipped else file


def _gzip_damage(reason: str) -> str:
    """Explains the messages of Python's `gzip._GzipReader`."""
    if reason.startswith(("CRC check failed", "Incorrect length")):
        return "a failed checksum: gzip's own does not match its content"
    if reason.startswith("Not a gzipped file"):
        return "trailing bytes after the gzip stream, expected nothing there"
    return f"damaged gzip ({reason})"


def _read(
    path: Path, content: BinaryIO | gzip.GzipFile, kind: IdxKind, digest: _Hash
) -> Iterator[np.ndarray]:
    header = content.read(kind.header.size)
    count, *size = _shape(path, header, kind)
    digest.update(header)
    row_bytes = math.prod(size)
    at_once = max(1, min(_ROWS_AT_ONCE, _BYTES_AT_ONCE // row_bytes))
    for start in range(0, count, at_once):
        rows = min(at_once, count - start)
        values = _read_up_to(content, rows * row_bytes)
        if len(values) < rows * row_bytes:
            raise DataError(
                f"{path}: truncated: it holds {start + len(values) // row_bytes:,} {kind.name}, "
                f"expected the {count:,} that its header declares; copy the file again"
            )
        digest.update(values)
        yield np.frombuffer(values, np.uint8).reshape(rows, *size)
    if more := len(content.read(_PIECE_BYTES)):  # looks at gzip's checksum, too
        raise DataError(
            f"{path}: {more:,} trailing bytes{' or more' if more == _PIECE_BYTES else ''} after "
            f"the {count:,} {kind.name} that its header declares, expected none; copy the file "
            "again"
        )


def _read_up_to(content: BinaryIO | gzip.GzipFile, size: int) -> bytes:
    """Reads by pieces, so that a false header costs no memory."""
    values = bytearray()
    while piece := content.read(min(_PIECE_BYTES, size - len(values))):
        values += piece
    return bytes(values)


def _shape(path: Path, header: bytes, kind: IdxKind) -> tuple[int, ...]:
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
    if kind is IMAGES and not shape[0]:
        raise DataError(f"{path}: holds no image (an empty split), expected at least one")
    if 0 in shape[1:]:
        raise DataError(f"{path}: images of {shape[1]}x{shape[2]} pixels, expected at least 1x1")
    if math.prod(shape) > kind.max_values:
        size = f" of {shape[1]}x{shape[2]} pixels" if kind is IMAGES else ""
        raise DataError(
            f"{path}: its header declares {shape[0]:,} {kind.name}{size}, expected at most "
            f"{kind.max_values:,} {'pixels' if kind is IMAGES else 'labels'}, which are held in "
            "memory: copy the file again, or give a part of the set"
        )
    return tuple(shape)
