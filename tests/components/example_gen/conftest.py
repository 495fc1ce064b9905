"""Small IDX folders, and the Beam runner of the tests."""

import gzip
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.beam_runner import beam_arguments

# Modules beside the tests are imported by name.
sys.path.append(str(Path(__file__).parent))

CLASSES = 3
SHAPE = (6, 5)  # rows, columns: not square, so that a mix-up shows
TRAIN_ROWS = 48
TEST_ROWS = 12


def idx_images(images: np.ndarray) -> bytes:
    """[N, H, W] uint8 as an IDX file."""
    return struct.pack(">IIII", 0x803, *images.shape) + images.tobytes()


def idx_labels(labels: np.ndarray) -> bytes:
    """[N] as an IDX file."""
    return struct.pack(">II", 0x801, len(labels)) + labels.astype(np.uint8).tobytes()


def make_split(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise images [N, 6, 5] uint8 and their labels [N], the classes in equal numbers."""
    images = np.random.default_rng(seed).integers(0, 256, (rows, *SHAPE), np.uint8)
    return images, np.arange(rows) % CLASSES


Write = Callable[..., Path]


@pytest.fixture
def idx_folder(tmp_path: Path) -> Write:
    """Writes a good IDX folder; a keyword replaces a file's content, `gz` compresses all."""

    def write(name: str = "digits", *, gz: bool = False, **contents: bytes) -> Path:
        directory = tmp_path / name
        directory.mkdir(parents=True)
        train, test = make_split(TRAIN_ROWS, 1), make_split(TEST_ROWS, 2)
        files = {
            "train_images": ("train-images-idx3-ubyte", idx_images(train[0])),
            "train_labels": ("train-labels-idx1-ubyte", idx_labels(train[1])),
            "test_images": ("t10k-images-idx3-ubyte", idx_images(test[0])),
            "test_labels": ("t10k-labels-idx1-ubyte", idx_labels(test[1])),
        }
        for key, (file_name, content) in files.items():
            content = contents.get(key, content)
            path = directory / (f"{file_name}.gz" if gz else file_name)
            path.write_bytes(gzip.compress(content) if gz else content)
        return directory

    return write


@pytest.fixture
def idx_file() -> Callable[[np.ndarray], bytes]:
    """[N, H, W] or [N] as the content of an IDX file."""
    return lambda values: idx_images(values) if values.ndim == 3 else idx_labels(values)


@pytest.fixture
def split_of() -> Callable[[int, int], tuple[np.ndarray, np.ndarray]]:
    """`make_split(rows, seed)`."""
    return make_split


@pytest.fixture(scope="session")
def beam_args() -> list[str]:
    """A runner that runs in this process and downloads nothing."""
    return list(beam_arguments(()))
