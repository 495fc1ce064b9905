import subprocess
import sys
from pathlib import Path

import pytest

from components.example_gen.errors import DataError
from components.example_gen.spec import DatasetSpec, parse_dataset, slug


def test_the_sample_is_its_own_kind() -> None:
    assert parse_dataset("mnist_sample") == DatasetSpec("sample", "mnist_sample", "mnist_sample")


@pytest.mark.parametrize(
    ("text", "name", "config", "version"),
    [
        ("mnist", "mnist", None, None),
        ("emnist/balanced", "emnist", "balanced", None),
        ("cifar10:3.0.2", "cifar10", None, "3.0.2"),
        ("emnist/by-class:3.1.0", "emnist", "by-class", "3.1.0"),
    ],
)
def test_a_tfds_name_is_taken_apart(
    text: str, name: str, config: str | None, version: str | None
) -> None:
    assert parse_dataset(text) == DatasetSpec(
        "tfds", text, name, path=None, config=config, version=version
    )


def test_an_idx_directory_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = parse_dataset("idx:data/../digits")
    assert spec.path == tmp_path / "digits"
    assert spec.text == f"idx:{tmp_path}/digits"


def test_parsing_its_own_text_gives_the_same_spec() -> None:
    spec = parse_dataset("idx:digits")
    assert parse_dataset(spec.text) == spec


@pytest.mark.parametrize("text", ["", "MNIST!", "a b", "huggingface:x", "mnist:latest", "../mnist"])
def test_anything_else_is_refused_with_what_is_expected(text: str) -> None:
    with pytest.raises(DataError, match=r"expected mnist_sample, idx:DIR .* or a tensorflow-data"):
        parse_dataset(text)


def test_idx_without_a_directory_is_refused() -> None:
    with pytest.raises(DataError, match="expected a directory after the colon: idx:DIR"):
        parse_dataset("idx: ")


def test_a_slug_is_a_file_name_of_the_length_that_tfx_takes() -> None:
    assert slug("emnist/balanced") == "emnist_balanced"
    assert slug("a" * 53) == "a" * 53
    one, other = slug("a" * 54 + "/b"), slug("a" * 54 + "/c")
    assert len(one) == len(other) == 53
    assert one != other


def test_parsing_imports_neither_tensorflow_nor_tfds() -> None:
    code = (
        "import sys, components.example_gen.spec as s; s.parse_dataset('mnist'); "
        "sys.exit(bool({'tensorflow', 'tensorflow_datasets', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
