import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tiny_sets  # noqa: F401  tensorflow-datasets knows them once they are imported
from idx_contents import idx_file, split_of
from tfx.types import artifact_utils, standard_artifacts

from components.example_gen import examples_summary
from components.example_gen.data_error import DataError
from components.example_gen.image_example_gen import ImageExampleGen
from components.example_gen.opening import open_dataset
from tests.refusals import refusal_of

Write = Callable[..., Path]


class Run:
    """One execution of the component."""

    def __init__(self, text: str, directory: Path) -> None:
        self.artifact = standard_artifacts.Examples()
        self.artifact.uri = str(directory / "examples")
        Path(self.artifact.uri).mkdir()
        self.data_dir = str(directory / "tfds")
        self.info = open_dataset(text, data_dir=self.data_dir).info

    def do(self) -> Any:
        ImageExampleGen.test_call(
            examples=self.artifact,
            dataset=self.info.to_json(),
            data_dir=self.data_dir,
            beam_pipeline=beam.Pipeline("FnApiRunner"),
        )
        return self.artifact


MakeRun = Callable[..., Run]


@pytest.fixture
def run(tmp_path: Path) -> MakeRun:
    def make(text: str, name: str = "run") -> Run:
        (tmp_path / name).mkdir()
        return Run(text, tmp_path / name)

    return make


def read_split(artifact: Any, split: str) -> list[tf.train.Example]:
    uri = artifact_utils.get_split_uri([artifact], split)
    paths = sorted(os.path.join(uri, name) for name in os.listdir(uri))
    records = tf.data.TFRecordDataset(paths, compression_type="GZIP")
    return [tf.train.Example.FromString(record.numpy()) for record in records]


def test_three_splits_are_written_and_summarized(run: MakeRun, idx_folder: Write) -> None:
    artifact = run(f"idx:{idx_folder('digits')}").do()
    assert artifact_utils.decode_split_names(artifact.split_names) == ["train", "eval", "test"]
    recorded = examples_summary.read(artifact)
    rows = {"train": 42, "eval": 6, "test": 12}  # 48 - 48 / 8, 48 / 8
    assert {name: split.rows for name, split in recorded.splits.items()} == rows
    assert {name: len(read_split(artifact, name)) for name in rows} == rows
    assert recorded.splits["eval"].class_counts == (2, 2, 2)
    assert recorded.name.startswith("idx_digits_")
    assert recorded.image_shape == (6, 5, 1)
    assert recorded.class_names == ("0", "1", "2")


def test_the_examples_are_the_sources_images_and_labels(run: MakeRun, idx_folder: Write) -> None:
    artifact = run(f"idx:{idx_folder()}").do()
    found = set()
    for example in read_split(artifact, "train") + read_split(artifact, "eval"):
        feature = example.features.feature
        image = tf.io.decode_png(feature["image"].bytes_list.value[0]).numpy()
        assert image.shape == (6, 5, 1)
        assert feature["mean_intensity"].float_list.value[0] == pytest.approx(image.mean() / 255)
        found.add((image.tobytes(), feature["label"].int64_list.value[0]))
    images, labels = split_of(48, 1)
    assert found == {(i.tobytes(), label) for i, label in zip(images, labels, strict=True)}


def test_nothing_but_the_splits_is_left(run: MakeRun, idx_folder: Write) -> None:
    artifact = run(f"idx:{idx_folder()}").do()
    assert sorted(os.listdir(artifact.uri)) == ["Split-eval", "Split-test", "Split-train"]


def test_the_sources_order_changes_neither_the_examples_nor_their_order(
    run: MakeRun, idx_folder: Write
) -> None:
    images, labels = split_of(48, 1)
    order = np.random.default_rng(0).permutation(48)
    first = idx_folder("digits")
    second = idx_folder(
        "other/digits", train_images=idx_file(images[order]), train_labels=idx_file(labels[order])
    )
    one, two = run(f"idx:{first}", "one").do(), run(f"idx:{second}", "two").do()
    assert examples_summary.read(one).splits == examples_summary.read(two).splits
    for split in ("train", "eval", "test"):
        assert read_split(one, split) == read_split(two, split)


def test_a_tfds_set_takes_the_same_way(run: MakeRun) -> None:
    artifact = run("tiny_days").do()
    recorded = examples_summary.read(artifact)
    assert (recorded.name, recorded.image_shape) == ("tiny_days", (4, 5, 3))
    assert recorded.class_names == ("day", "night")
    assert {name: split.rows for name, split in recorded.splits.items()} == {
        "train": 35,  # 40 - 40 / 8
        "eval": 5,
        "test": 10,
    }


def test_the_sample_is_cut_3500_500_1000_the_same_in_every_environment(run: MakeRun) -> None:
    recorded = examples_summary.read(run("mnist_sample").do())
    assert recorded.overlap.train_test == 0
    assert {name: (s.class_counts, s.digest[:16]) for name, s in recorded.splits.items()} == {
        "train": ((350,) * 10, "c97d48b474bee531"),
        "eval": ((50,) * 10, "2402390c060778a5"),
        "test": ((100,) * 10, "03b9e8d987013adb"),
    }


def refusal(run: Run) -> str:
    line = refusal_of(DataError, run.do)
    assert os.listdir(run.artifact.uri) == []
    return line


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tiny_unlabelled", "label -1 in row 0 of shard 0 of split 'test' is out of range"),
        ("tiny_uneven", "images of differing shapes cannot be used"),
        ("tiny_one_class", "the test split has no image of class night"),
    ],
)
def test_bad_data_is_refused_and_nothing_is_left(run: MakeRun, name: str, message: str) -> None:
    assert message in refusal(run(name))


def test_data_that_changed_since_the_run_began_are_refused(run: MakeRun, idx_folder: Write) -> None:
    directory = idx_folder()
    changed = run(f"idx:{directory}")
    (directory / "train-images-idx3-ubyte").write_bytes(idx_file(split_of(48, 9)[0]))
    assert "has changed since the run began" in refusal(changed)


def test_tfx_reads_the_artifact_as_examples(run: MakeRun, idx_folder: Write) -> None:
    from tfx.components.util import tfxio_utils

    artifact = run(f"idx:{idx_folder()}").do()
    factory = tfxio_utils.get_tfxio_factory_from_artifact([artifact], ["test"], None)
    pattern = os.path.join(artifact.uri, "Split-test", "*")
    batch = next(iter(factory([pattern]).RecordBatches(_options())))
    assert sorted(batch.schema.names) == [
        "channels",
        "height",
        "image",
        "label",
        "mean_intensity",
        "width",
    ]
    assert batch.num_rows == 12


def _options() -> Any:
    from tfx_bsl.tfxio import dataset_options

    return dataset_options.RecordBatchesOptions(batch_size=100, num_epochs=1, shuffle=False)
