"""Small IDX folders."""

import gzip
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Modules beside the tests are imported by name.
sys.path.append(str(Path(__file__).parent))

from idx_contents import idx_file, split_of

Write = Callable[..., Path]


@pytest.fixture
def idx_folder(tmp_path: Path) -> Write:
    """Writes a good IDX folder, 48 images and 12; a keyword replaces a file's content."""

    def write(name: str = "digits", *, gz: bool = False, **contents: bytes) -> Path:
        directory = tmp_path / name
        directory.mkdir(parents=True)
        train, test = split_of(48, 1), split_of(12, 2)
        files = {
            "train_images": ("train-images-idx3-ubyte", idx_file(train[0])),
            "train_labels": ("train-labels-idx1-ubyte", idx_file(train[1])),
            "test_images": ("t10k-images-idx3-ubyte", idx_file(test[0])),
            "test_labels": ("t10k-labels-idx1-ubyte", idx_file(test[1])),
        }
        for key, (file_name, content) in files.items():
            content = contents.get(key, content)
            path = directory / (f"{file_name}.gz" if gz else file_name)
            path.write_bytes(gzip.compress(content) if gz else content)
        return directory

    return write
