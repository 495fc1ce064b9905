"""The steps of ExampleGen together, on Beam's runner in this process."""

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from components.example_gen import file_hashes
from components.example_gen import generate as steps
from components.example_gen.data_error import DataError
from components.example_gen.example_facts import (
    digest_of,
    eval_size,
    hash_examples,
    hash_images,
    quotas_of,
    smallest_rows,
)
from components.example_gen.examples_summary import ExamplesSummary
from components.example_gen.generate import finish, generate
from components.example_gen.image_set import DatasetInfo, ImageSet, Shard, SourceRows
from components.example_gen.images import read_examples
from tests.trainer.image_files import encoded

INFO = DatasetInfo("tiny", "tiny", "0" * 64, (2, 2, 1), ("a", "b"), 1)
FILES = {"train": 3, "eval": 2, "test": 1}

Arrays = tuple[np.ndarray, np.ndarray]


def images_of(rows: int, seed: int) -> Arrays:
    images = np.random.default_rng(seed).integers(0, 256, (rows, 2, 2, 1), np.uint8)
    return images, np.arange(rows) % 2


TRAIN = images_of(64, 1)
TEST = images_of(8, 2)


def read(
    arrays: dict[str, Arrays],
    rows: int,
    broken: tuple[str, int] | None,
    of_files: bool,
    shard: Shard,
) -> Iterator[SourceRows]:
    """Two batches; a broken shard has but one. As the hash of a file stands that of its pixels."""
    images, labels = arrays[shard.split]
    first = shard.index * 2 * rows
    for start in (first, first + rows):
        batch = slice(start, start + rows)
        hashes = hash_images(images[batch]) if of_files else None
        yield SourceRows(labels[batch], pixels=images[batch], file_hashes=hashes)
        if broken == (shard.split, shard.index):
            raise DataError("it is broken")


def set_of(
    train: Arrays = TRAIN,
    test: Arrays = TEST,
    rows: int = 4,
    broken: tuple[str, int] | None = None,
    *,
    of_files: bool = False,
) -> ImageSet:
    """Shards of two batches of `rows` each."""
    arrays = {"train": train, "test": test}
    shards = [
        Shard(split, index, 2 * rows)
        for split, (_, labels) in arrays.items()
        for index in range(len(labels) // (2 * rows))
    ]
    num_bytes = {"train": 1000, "test": 1000}
    reader = functools.partial(read, arrays, rows, broken, of_files)
    return ImageSet(INFO, tuple(shards), num_bytes, reader)


@pytest.fixture(autouse=True)
def several_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "file_counts", lambda _: FILES)


def generated(image_set: ImageSet, directory: Path) -> ExamplesSummary:
    with beam.Pipeline("FnApiRunner") as pipeline:
        generate(pipeline, image_set, str(directory))
    return finish(str(directory))


def examples(directory: Path, split: str) -> list[list[tf.train.Example]]:
    """Those of each file; the order of an example's features is not fixed."""
    return [
        [
            tf.train.Example.FromString(record)
            for record in tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator()
        ]
        for path in sorted((directory / f"Split-{split}").iterdir())
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExamplesSummary]:
    directory = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "file_counts", lambda _: FILES)
        return directory, generated(set_of(), directory)


def test_each_split_is_written_and_has_the_digest_of_its_rows(whole) -> None:  # type: ignore[no-untyped-def]
    directory, summary = whole
    images, labels = TRAIN
    hashes = hash_examples(images, labels)
    cut = smallest_rows(labels, hashes, quotas_of(np.bincount(labels), eval_size(64)))
    is_eval = np.isin(np.arange(64), cut)
    expected = {"train": hashes[~is_eval], "eval": hashes[is_eval], "test": hash_examples(*TEST)}
    for split, of_split in expected.items():
        files = examples(directory, split)
        assert summary.splits[split].rows == sum(map(len, files)) == len(of_split)
        assert summary.splits[split].digest == digest_of(of_split)
        assert len(files) == FILES[split]
    assert summary.overlap.train_test == 0


def test_the_hashes_of_files_stand_in_the_order_of_the_examples(whole, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    generated(set_of(of_files=True), tmp_path)
    for split in FILES:
        (written,) = [images for _, images, _ in read_examples(f"{tmp_path}/Split-{split}")]
        pixels = np.stack([tf.io.decode_png(image).numpy() for image in written])
        expected = hash_images(pixels)
        assert file_hashes.read(f"{tmp_path}/Split-{split}/").tolist() == expected.tolist()
        assert examples(tmp_path, split) == examples(whole[0], split)
        assert file_hashes.read(f"{whole[0]}/Split-{split}").shape == (0, 32)


def test_each_row_is_written_once(whole) -> None:  # type: ignore[no-untyped-def]
    directory, _ = whole
    pngs = [
        example.features.feature["image"].bytes_list.value[0]
        for split in ("train", "eval")
        for file in examples(directory, split)
        for example in file
    ]
    written = [tf.io.decode_png(png).numpy().tobytes() for png in pngs]
    assert sorted(written) == sorted(image.tobytes() for image in TRAIN[0])


def test_neither_order_nor_shards_nor_parts_change_files_or_summary(
    whole,  # type: ignore[no-untyped-def]
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    directory, summary = whole
    order = np.random.default_rng(0).permutation(64)
    shuffled = TRAIN[0][order], TRAIN[1][order]
    monkeypatch.setattr(steps, "_BYTES_AT_ONCE", 1)  # each batch is staged by itself
    assert generated(set_of(train=shuffled, rows=2), tmp_path) == summary
    for split in FILES:
        assert examples(tmp_path, split) == examples(directory, split)


def test_images_of_test_that_stand_in_train_or_eval_are_counted(tmp_path: Path) -> None:
    test_images = np.concatenate([TRAIN[0][:3], TRAIN[0][:1], TEST[0][:4]])  # one of them twice
    found = generated(set_of(test=(test_images, 1 - TEST[1])), tmp_path).overlap
    assert found.train_test == 4  # whatever their labels
    hashes = hash_images(TRAIN[0][:3])
    assert found.examples == tuple(sorted(h.tobytes().hex() for h in hashes))


def test_few_of_many_overlapping_images_are_named(tmp_path: Path) -> None:
    found = generated(set_of(test=TRAIN), tmp_path).overlap
    assert found.train_test == 64
    assert len(found.examples) == 5


def test_any_problem_of_a_shard_stops_all_writing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^dataset 'tiny': it is broken$"):
        generated(set_of(broken=("test", 0)), tmp_path)
    assert not list(tmp_path.glob("Split-*/*"))


def described(pixels: np.ndarray) -> bytes:
    """A PNG with a text, and so larger than one of the same pixels would have to be."""
    text = PngInfo()
    text.add_text("Comment", "taken in the garden")
    return encoded(Image.fromarray(pixels[..., 0]), pnginfo=text)


def read_described(shard: Shard) -> Iterator[SourceRows]:
    for rows in read({"train": TRAIN, "test": TEST}, 4, None, False, shard):
        images = np.array([described(pixels) for pixels in rows.pixels], object)
        yield SourceRows(rows.labels, images)


def test_png_of_the_networks_shape_are_stored_as_they_are(tmp_path: Path) -> None:
    generated(dataclasses.replace(set_of(), read=read_described), tmp_path)
    stored = [
        image
        for split in ("train", "eval", "test")
        for _, images, _ in read_examples(f"{tmp_path}/Split-{split}")
        for image in images
    ]
    assert sorted(stored) == sorted(map(described, [*TRAIN[0], *TEST[0]]))
