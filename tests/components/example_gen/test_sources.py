import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from components.example_gen.data_error import DataError
from components.example_gen.image_set import DatasetInfo, ImageSet, Shard
from components.example_gen.opening import open_dataset
from components.example_gen.sources import (
    SOURCES,
    DatasetSpec,
    DataSource,
    find_name,
    parse_dataset,
)
from tests.limits import ROOT
from tests.plugins import install

# A source of images that are drawn: 64 for training and 16 for testing, of two classes.
STRIPES = """
import functools, hashlib
from components.example_gen.data_error import DataError
from components.example_gen.sources import SOURCES, DataSource, DatasetSpec

def parse(argument):
    if not argument.isdecimal():
        raise DataError(f"stripes:{argument}: expected a number of pixels")
    return DatasetSpec("stripes", f"stripes:{argument}", name="stripes")

def open_stripes(spec, data, data_dir):
    from components.example_gen.image_set import DatasetInfo, ImageSet, Shard
    side = int(spec.text.partition(":")[2])
    fingerprint = hashlib.sha256(spec.text.encode()).hexdigest()
    shape, classes = (side, side, 1), ("upright", "level")
    return ImageSet(
        DatasetInfo(spec.text, "stripes", fingerprint, shape, classes, test_rows=16),
        shards=(Shard("train", 0, 32), Shard("train", 1, 32), Shard("test", 0, 16)),
        num_bytes={"train": 64 * side * side, "test": 16 * side * side},
        read=functools.partial(read, side),
    )

def read(side, shard):
    import numpy as np
    from components.example_gen.image_set import SourceRows
    rng = np.random.default_rng([shard.index, len(shard.split)])
    lines = rng.integers(0, 256, (shard.rows, 1, side, 1), np.uint8)
    images = np.repeat(lines, side, axis=1)
    labels = np.arange(shard.rows) % 2
    images[labels == 1] = images[labels == 1].swapaxes(1, 2)
    yield SourceRows(labels, pixels=images)

SOURCES.add("stripes", DataSource("stripes:SIDE", "drawn stripes", parse, open_stripes))
"""
RUN = """
import json, sys
import apache_beam as beam
from tfx.types import standard_artifacts
from components.example_gen import examples_summary
from components.example_gen.image_example_gen import ImageExampleGen
from components.example_gen.opening import open_dataset
from components.example_gen.sources import usages

examples = standard_artifacts.Examples()
examples.uri = sys.argv[1]
info = open_dataset("stripes:12", data_dir=None).info
pipeline = beam.Pipeline("FnApiRunner")
ImageExampleGen.test_call(examples=examples, dataset=info.to_json(), beam_pipeline=pipeline)
print(json.dumps([usages(), examples_summary.read(examples).to_json()]))
"""


@pytest.mark.parametrize(
    ("shard", "problem"),
    [
        (Shard("tset", 0, 16), "dataset 'x' has shard 0 of split 'tset', expected 'train' or"),
        (Shard("test", 0, 20), "dataset 'x' has shards of 20 test images, expected the 16 that"),
    ],
)
def test_shards_are_those_that_the_source_declares(
    monkeypatch: pytest.MonkeyPatch, shard: Shard, problem: str
) -> None:
    info = DatasetInfo("x", "x", "0" * 64, (9, 9, 1), ("a", "b"), test_rows=16)
    source = DataSource(
        *("x", "", lambda _: DatasetSpec("x", "x")),
        lambda *_: ImageSet(info, (shard,), {}, lambda _: []),
    )
    monkeypatch.setitem(SOURCES._entries, "x", source)
    with pytest.raises(DataError, match=f"^{problem}"):
        open_dataset("x", data_dir=None)


def test_a_set_of_one_class_is_refused_whoever_declares_it(monkeypatch: pytest.MonkeyPatch) -> None:
    info = DatasetInfo("x", "x", "0" * 64, (9, 9, 1), ("a",), test_rows=0)
    opened = ImageSet(info, (), {}, lambda _: [])
    source = DataSource("x", "", lambda _: DatasetSpec("x", "x"), lambda *_: opened)
    monkeypatch.setitem(SOURCES._entries, "x", source)
    with pytest.raises(DataError, match="cannot be used: class_names holds 1 names"):
        open_dataset("x", data_dir=None)


@pytest.mark.once_newer  # tests/e2e/test_plugin.py
def test_a_source_from_another_distribution_is_read_by_example_gen(tmp_path: Path) -> None:
    install(tmp_path, STRIPES)
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path / "examples")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    taken, text = json.loads(done.stdout.splitlines()[-1])
    summary = json.loads(text)
    assert taken.endswith("or stripes:SIDE (drawn stripes)")
    assert (summary["name"], summary["image_shape"]) == ("stripes", [12, 12, 1])
    assert {name: split["class_counts"] for name, split in summary["splits"].items()} == {
        "train": [28, 28],  # 64 - 64 / 8
        "eval": [4, 4],
        "test": [8, 8],
    }


def test_the_sample_has_its_name_alone() -> None:
    sample = DatasetSpec("mnist_sample", "mnist_sample", name="mnist_sample")
    assert parse_dataset(" mnist_sample ") == sample
    with pytest.raises(DataError, match="'mnist_sample:3', expected mnist_sample alone"):
        parse_dataset("mnist_sample:3")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("mnist", "mnist"),
        ("emnist/balanced", "emnist/balanced"),
        ("cifar10:3.0.2", "cifar10"),
        ("emnist/by-class:3.1.0", "emnist/by-class"),
    ],
)
def test_a_tfds_name_is_taken_apart(text: str, name: str) -> None:
    assert parse_dataset(text) == DatasetSpec("tfds", text, name=name)


def test_an_idx_directory_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = parse_dataset("idx:data/../digits")
    assert spec.folders == (tmp_path / "digits",)
    assert spec.text == f"idx:{tmp_path}/digits"
    assert spec.name is None
    assert parse_dataset(spec.text) == spec


@pytest.mark.parametrize("text", ["", "MNIST!", "a b", "huggingface:x", "mnist:latest", "../mnist"])
def test_anything_else_is_refused_with_what_is_expected(text: str) -> None:
    with pytest.raises(DataError, match=r"expected mnist_sample \(.*\), idx:DIR \(.*tensorflow-"):
        parse_dataset(text)


@pytest.mark.parametrize("text", ["idx", "idx: "])
def test_idx_without_a_directory_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="dataset is 'idx' without a directory, expected idx:DIR"):
        parse_dataset(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("mnist_sample", "mnist_sample"),
        ("emnist", "emnist/byclass"),  # its default configuration
        ("emnist/balanced", "emnist/balanced"),
        ("no_such_set", "no_such_set"),
    ],
)
def test_a_set_has_a_name_before_it_is_prepared(text: str, name: str) -> None:
    assert find_name(parse_dataset(text), data_dir=None) == name


def test_the_name_of_idx_files_is_that_of_what_a_run_reads(idx_folder: Callable[..., Path]) -> None:
    text = f"idx:{idx_folder('digits')}"
    name = find_name(parse_dataset(text), data_dir=None)
    assert name.startswith("idx_digits_")
    assert name == open_dataset(text, data_dir=None).info.name


def test_idx_files_that_are_damaged_have_no_name(idx_folder: Callable[..., Path]) -> None:
    spec = parse_dataset(f"idx:{idx_folder(test_labels=b'')}")
    with pytest.raises(DataError, match="expected an IDX header"):
        find_name(spec, data_dir=None)


def test_a_description_survives_json() -> None:
    info = DatasetInfo("tiny", "tiny/a", "0" * 64, (4, 5, 3), ("day", "night"), 10)
    assert DatasetInfo.from_json(info.to_json()) == info
    assert info.slug == "tiny_a"


def test_a_text_and_a_name_cost_no_large_import() -> None:
    code = """
import sys
from components.example_gen.sources import find_name, parse_dataset
spec = parse_dataset("emnist")
assert not {"numpy", "tensorflow", "tensorflow_datasets"} & set(sys.modules)
find_name(spec, data_dir=None)
assert "tensorflow" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
