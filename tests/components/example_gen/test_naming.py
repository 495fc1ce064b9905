"""A data set has one name, whether somebody reads it or asks for its name alone."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import tensorflow_datasets as tfds
import tiny_sets

from components.example_gen.dataset import describe
from components.example_gen.errors import DataError
from components.example_gen.naming import name_of
from components.example_gen.sources import resolve
from components.example_gen.spec import parse_dataset

Write = Callable[..., Path]


class TinySeasons(tiny_sets.TinyBuilder):
    """A set of two configurations; the first one is its default."""

    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        tfds.core.BuilderConfig(name=name, version=tfds.core.Version("1.2.0"), description=name)
        for name in ("summer", "winter")
    ]


def both_names(text: str, directory: Path) -> tuple[str, str]:
    """The name by itself, and that of what a run reads."""
    alone = name_of(parse_dataset(text), data_dir=str(directory / "tfds"))
    builder = resolve(text, data_dir=str(directory / "tfds"), cache_dir=str(directory / "cache"))
    return alone, describe(builder, text).name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("mnist_sample", "mnist_sample"),
        ("tiny_days", "tiny_days"),
        ("tiny_days:1.2.0", "tiny_days"),
        ("tiny_seasons", "tiny_seasons/summer"),
        ("tiny_seasons/winter", "tiny_seasons/winter"),
    ],
)
def test_the_name_is_that_of_what_a_run_reads(text: str, name: str, tmp_path: Path) -> None:
    assert both_names(text, tmp_path) == (name, name)


def test_two_idx_folders_of_one_name_have_two_names(idx_folder: Write, tmp_path: Path) -> None:
    other = np.arange(12, dtype=np.uint8)[::-1] % 3
    labels = b"\0\0\x08\x01\0\0\0\x0c" + other.tobytes()
    names = []
    for folder in (idx_folder("one/digits"), idx_folder("two/digits", test_labels=labels)):
        alone, read = both_names(f"idx:{folder}", tmp_path)
        assert alone == read
        assert alone.startswith("idx_digits_")
        names.append(alone)
    assert len(set(names)) == 2


def test_idx_files_that_are_damaged_have_no_name(idx_folder: Write) -> None:
    spec = parse_dataset(f"idx:{idx_folder(test_labels=b'')}")
    with pytest.raises(DataError, match="expected an IDX header"):
        name_of(spec, data_dir=None)


def test_a_set_that_cannot_be_found_keeps_the_name_that_it_was_given() -> None:
    assert name_of(parse_dataset("no_such_set"), data_dir=None) == "no_such_set"


def test_to_ask_for_a_name_does_not_import_tensorflow() -> None:
    script = (
        "import sys; from components.example_gen.naming import name_of; "
        "from components.example_gen.spec import parse_dataset; "
        "print(name_of(parse_dataset('emnist'), data_dir=None), 'tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "emnist/byclass False\n"
