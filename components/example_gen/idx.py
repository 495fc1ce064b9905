"""The four classic IDX files of a directory, gzipped or not, read and checked in memory.

    arrays = read_directory(Path("mnist"))
    arrays.splits["train"].images.shape      # (60000, 28, 28, 1)

The format is described at http://yann.lecun.com/exdb/mnist/: a big-endian magic number (two zero
bytes, the type, the number of dimensions), the sizes, then the values.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from components.example_gen.arrays import TEST, TRAIN, ImageArrays, Split, class_count
from components.example_gen.errors import DataError
from components.example_gen.known_sets import recognize

_IMAGES_MAGIC = 0x00000803  # unsigned bytes, three dimensions
_LABELS_MAGIC = 0x00000801  # unsigned bytes, one dimension
_IMAGES_HEADER = struct.Struct(">IIII")  # magic, count, rows, columns
_LABELS_HEADER = struct.Struct(">II")  # magic, count
_KINDS = {_IMAGES_MAGIC: "images", _LABELS_MAGIC: "labels"}

_NAME_DIGITS = 8  # hexadecimal, of the test files' digest

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WBITS = 31  # zlib's code for a gzip header and trailer around the stream

# Role in the set -> what stands before and after the dot or dash in the file's name.
_FILES = (
    ("train-images", "idx3-ubyte"),
    ("train-labels", "idx1-ubyte"),
    ("t10k-images", "idx3-ubyte"),
    ("t10k-labels", "idx1-ubyte"),
)


def read_directory(directory: Path) -> ImageArrays:
    """Reads and checks a directory of IDX files; writes nothing.

    Raises:
      DataError: the files are not there, cannot be read, or do not hold a whole data set.
    """
    paths = find_files(directory)
    with ThreadPoolExecutor() as pool:  # zlib and hashlib release the interpreter's lock
        contents = list(pool.map(read_content, paths))
        digests = list(pool.map(lambda content: hashlib.sha256(content).hexdigest(), contents))
    train = _split(paths[0], contents[0], paths[1], contents[1])
    test = _split(paths[2], contents[2], paths[3], contents[3])
    count = class_count(f"idx:{directory}", train, test)
    known = recognize(digests[2], digests[3])
    if known is not None and len(known.class_names) == count:
        name, class_names = known.name, known.class_names
    else:
        name, class_names = (
            _name_of(directory, digests[2:]),
            tuple(str(label) for label in range(count)),
        )
    return ImageArrays(
        name=name,
        fingerprint=hashlib.sha256("\n".join(digests).encode()).hexdigest(),
        class_names=class_names,
        splits={TRAIN: train, TEST: test},
    )


def find_files(directory: Path) -> list[Path]:
    """The paths of train images and labels, test images and labels, in this order.

    Both spellings (`train-images-idx3-ubyte`, `train-images.idx3-ubyte`) are taken, with or
    without `.gz`.
    """
    try:
        if not directory.exists():
            raise DataError(f"idx:{directory}: there is no such directory")
        if not directory.is_dir():
            raise DataError(f"idx:{directory}: is a file, expected the directory of the IDX files")
        present = {path.name for path in directory.iterdir()}
    except OSError as error:
        raise _unreadable(directory, error) from error
    return [_find_file(directory, present, *file) for file in _FILES]


def _find_file(directory: Path, present: set[str], role: str, ending: str) -> Path:
    candidates = [f"{role}{mark}{ending}{gz}" for mark in "-." for gz in ("", ".gz")]
    found = [name for name in candidates if name in present]
    if not found:
        raise DataError(
            f"idx:{directory}: {candidates[0]} is missing, expected it there, with or without .gz"
        )
    if len(found) > 1:
        raise DataError(
            f"idx:{directory}: {' and '.join(found)} are both there, expected one of them: "
            "remove the other"
        )
    return directory / found[0]


def read_content(path: Path) -> bytes:
    """The file's content, uncompressed when it is gzipped."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    return _gunzip(path, content) if content.startswith(_GZIP_MAGIC) else content


def _gunzip(path: Path, content: bytes) -> bytes:
    """Uncompresses all members; every one must be whole, nothing else may follow."""
    parts = []
    while content.strip(b"\0"):  # gzip pads with zeros (RFC 1952; gzip's manual, "tar padding")
        stream = zlib.decompressobj(_GZIP_WBITS)
        try:
            parts.append(stream.decompress(content))
        except zlib.error as error:
            raise DataError(_gzip_damage(path, parts, str(error))) from error
        if not stream.eof:
            raise DataError(
                f"{path}: truncated gzip: it ends after {len(content):,} compressed bytes, inside "
                "the stream; expected the stream's end: copy the file again"
            )
        content = stream.unused_data
    return b"".join(parts)


def _gzip_damage(path: Path, before: list[bytes], reason: str) -> str:
    again = "copy or download the file again"
    if "incorrect data check" in reason or "incorrect length check" in reason:
        return f"{path}: a failed checksum: gzip's own does not match its content; {again}"
    if before and "incorrect header check" in reason:
        return f"{path}: trailing bytes after the gzip stream, expected nothing there; {again}"
    return f"{path}: damaged gzip ({reason}); {again}"


def _split(images_path: Path, images: bytes, labels_path: Path, labels: bytes) -> Split:
    pixels = _images(images_path, images)
    values = _labels(labels_path, labels)
    if len(pixels) != len(values):
        raise DataError(
            f"{labels_path}: holds {len(values):,} labels, expected {len(pixels):,}, "
            f"one per image of {images_path.name}"
        )
    return Split(pixels, values)


def _images(path: Path, content: bytes) -> np.ndarray:
    count, rows, columns = _header(path, content, _IMAGES_HEADER, _IMAGES_MAGIC)
    if not count:
        raise DataError(f"{path}: holds no image (an empty split), expected at least one")
    if not rows or not columns:
        raise DataError(f"{path}: images of {rows}x{columns} pixels, expected at least 1x1")
    body = _body(path, content, _IMAGES_HEADER, count=count, record=rows * columns, what="images")
    return body.reshape(count, rows, columns, 1)


def _labels(path: Path, content: bytes) -> np.ndarray:
    (count,) = _header(path, content, _LABELS_HEADER, _LABELS_MAGIC)
    return _body(path, content, _LABELS_HEADER, count=count, record=1, what="labels").astype(
        np.int64
    )


def _header(path: Path, content: bytes, header: struct.Struct, expected: int) -> tuple[int, ...]:
    """The sizes that follow the magic number."""
    if len(content) < header.size:
        raise DataError(
            f"{path}: {len(content)} bytes long, expected an IDX header of {header.size} bytes"
        )
    magic, *sizes = header.unpack_from(content)
    if magic != expected:
        mixed_up = f": this is a file of {_KINDS[magic]}" if magic in _KINDS else ""
        raise DataError(
            f"{path}: wrong IDX magic number {magic:#010x}, expected {expected:#010x} "
            f"({_KINDS[expected]}){mixed_up}"
        )
    return tuple(sizes)


def _body(
    path: Path, content: bytes, header: struct.Struct, *, count: int, record: int, what: str
) -> np.ndarray:
    body = np.frombuffer(content, np.uint8, offset=header.size)
    if len(body) < count * record:
        raise DataError(
            f"{path}: truncated: it holds {len(body) // record:,} {what}, expected the {count:,} "
            "that its header declares; copy the file again"
        )
    if len(body) > count * record:
        raise DataError(
            f"{path}: {len(body) - count * record:,} trailing bytes after the {count:,} {what} "
            "that its header declares, expected none; copy the file again"
        )
    return body


def _name_of(directory: Path, test_digests: Sequence[str]) -> str:
    """The directory's name and a digest of the test files, as tensorflow-datasets takes a name.

    Two directories of one name are two sets, also below one serving directory. As for a known set,
    the test split alone decides: the name stays when the directory moves or training data grows.
    """
    words = re.findall(r"[a-z0-9]+", directory.name.lower())
    digest = hashlib.sha256("\n".join(test_digests).encode()).hexdigest()
    return "_".join(["idx", *words, digest[:_NAME_DIGITS]])


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: cannot be read ({error.strerror or error}); check its permissions")
