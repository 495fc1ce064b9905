"""An IDX file that takes much more than it should: refused early, in little memory and time."""

import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.limits import limited
from tests.trainer.host.test_files import STAND_INS

READ = """
import sys
from components.example_gen.opening import open_dataset
from components.example_gen.data_error import DataError
try:
    open_dataset(f"idx:{sys.argv[1]}", data_dir=None)
except DataError as error:
    print(error)
"""
GIGABYTE = 1 << 30
# 1 GB of zeros in 1 MB: a thousand gzip members of 1 MB each.
ZEROS = gzip.compress(bytes(1 << 20)) * 1024
# The imports take 80 MB of addresses: less than half of the zeros find room beside them.
ADDRESS_SPACE_BYTES = 500 << 20
HEADER = struct.Struct(">IIII")

Write = Callable[..., Path]


def refusal(directory: Path) -> str:
    done = limited(READ, directory, address_space_bytes=ADDRESS_SPACE_BYTES)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1
    return done.stdout


def declaring(*sizes: int) -> bytes:
    return gzip.compress(HEADER.pack(0x803, *sizes))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(ZEROS, "wrong IDX magic number 0x00000000, expected 0x00000803", id="zeros"),
        pytest.param(
            declaring(48, 6, 5) + ZEROS,
            "1,048,576 trailing bytes or more after the 48 images",
            id="more than declared",
        ),
        pytest.param(
            declaring(0xFFFFFFFF, 28, 28) + ZEROS,
            "declares 4,294,967,295 images of 28x28 pixels, expected at most 2,147,483,648 pixels",
            id="too much declared",
        ),
        pytest.param(
            declaring(2 << 20, 32, 32),
            "truncated: it holds 0 images, expected the 2,097,152 that its header declares",
            id="a header that lies",
        ),
    ],
)
def test_a_gzip_that_holds_a_gigabyte_is_refused_in_little_memory(
    content: bytes, said: str, idx_folder: Write
) -> None:
    directory = idx_folder(gz=True)
    (directory / "train-images-idx3-ubyte.gz").write_bytes(content)
    assert said in refusal(directory)


def test_labels_without_end_are_refused_in_little_memory(idx_folder: Write) -> None:
    directory = idx_folder(gz=True)
    header = gzip.compress(struct.pack(">II", 0x801, GIGABYTE))
    (directory / "train-labels-idx1-ubyte.gz").write_bytes(header + ZEROS)
    assert "declares 1,073,741,824 labels, expected at most 67,108,864" in refusal(directory)


def test_a_sparse_file_is_refused_by_its_size(idx_folder: Write) -> None:
    directory = idx_folder()
    os.truncate(directory / "train-images-idx3-ubyte", 1 << 42)
    assert "Holds 4,398,046,511,104 bytes or more, expected at most 2,147,483,648" in refusal(
        directory
    )


@pytest.mark.parametrize("name", ["FIFO", "endless device", "loop", "socket"])
def test_what_is_no_file_is_refused_at_once(name: str, idx_folder: Write) -> None:
    directory = idx_folder()
    path = directory / "train-labels-idx1-ubyte"
    path.unlink()
    make, said = STAND_INS[name]
    make(path)
    assert f"{path}: cannot be read ({said}" in refusal(directory)
