import struct
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
import tiny_sets

from components.example_gen.data_error import DataError
from components.example_gen.image_set import ImageSet, Shard
from components.example_gen.images import Rows, decode, encode_examples, png_problem, read_rows
from components.example_gen.opening import open_dataset
from tests.refusals import refusal_of
from trainer.features import ImageSpec

SHAPE = (4, 5, 3)


def header(width: int = 5, height: int = 4, depth: int = 8, colour: int = 2) -> bytes:
    sizes = struct.pack(">I4sIIBB", 13, b"IHDR", width, height, depth, colour)
    return b"\x89PNG\r\n\x1a\n" + sizes


def test_a_png_of_the_declared_shape_is_accepted() -> None:
    assert png_problem(tf.io.encode_png(np.zeros(SHAPE, np.uint8)).numpy()[:26], SHAPE) == ""


@pytest.mark.parametrize(
    ("first_bytes", "problem"),
    [
        (b"\xff\xd8\xff\xe0", "is not stored as PNG"),
        (b"", "is not stored as PNG"),
        (header()[:20], "is a PNG cut short inside its header"),
        (header(width=4), "is 4x4x3, expected 4x5x3: images of differing shapes"),
        (header(height=9), "is 9x5x3, expected 4x5x3"),
        (header(colour=0), "is 4x5x1, expected 4x5x3"),
        (header(colour=6), "is 4x5x4, expected 4x5x3"),
        (header(depth=16), "has 16 bits per channel, expected at most 8"),
        (header(colour=3), ""),  # a palette decodes to any number of channels
    ],
)
def test_the_header_says_what_is_wrong(first_bytes: bytes, problem: str) -> None:
    found = png_problem(first_bytes, SHAPE)
    assert found.startswith(problem)
    assert bool(found) == bool(problem)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_decoding_gives_the_pixels(channels: int) -> None:
    shape = (4, 5, channels)
    images = np.random.default_rng(0).integers(0, 256, (7, *shape), np.uint8)
    pngs = np.array([tf.io.encode_png(image).numpy() for image in images], object)
    np.testing.assert_array_equal(decode(pngs, ImageSpec(shape, ("a", "b"))), images)


def test_an_example_holds_the_stored_bytes_and_what_describes_them() -> None:
    pngs = np.array([b"first", b"second"], object)
    sums = np.array([0, 60 * 51])  # 60 values of 51: a fifth of 255
    rows = Rows(pngs, np.array([1, 0]), np.zeros((2, *SHAPE)), np.array([[9, 8, 1], [7, 6, 3]]))
    first, second = encode_examples(rows, sums)
    assert tf.train.Example.FromString(first).features.feature["image"].bytes_list.value == [
        b"first"
    ]
    feature = tf.train.Example.FromString(second).features.feature
    assert {key: list(feature[key].int64_list.value) for key in feature if key != "image"} == {
        "label": [0],
        "height": [7],
        "width": [6],
        "channels": [3],
        "mean_intensity": [],
    }
    assert list(feature["mean_intensity"].float_list.value) == [pytest.approx(0.2)]


def opened(builder: tfds.core.DatasetBuilder) -> ImageSet:
    """The set, prepared beforehand where tensorflow-datasets would put it."""
    builder.download_and_prepare()
    return open_dataset(builder.name, data_dir=str(builder.data_dir_root))


def shard_of(image_set: ImageSet, split: str) -> Shard:
    (shard,) = image_set.shards_of(split)
    return shard


def path_of(builder: tfds.core.DatasetBuilder, split: str) -> Path:
    (path,) = builder.info.splits[split].filepaths
    return Path(path)


def problem_of(image_set: ImageSet, split: str) -> str:
    return refusal_of(DataError, list, read_rows(image_set, shard_of(image_set, split)))


def test_a_shard_is_read_and_decoded(tmp_path: Path) -> None:
    builder = tiny_sets.TinyDays(data_dir=tmp_path)
    image_set = opened(builder)
    (rows,) = read_rows(image_set, shard_of(image_set, "test"))
    expected = list(tfds.as_numpy(builder.as_dataset("test")))
    assert rows.labels.tolist() == [row["label"] for row in expected]
    np.testing.assert_array_equal(rows.pixels, np.stack([row["image"] for row in expected]))


def test_the_stored_png_bytes_pass_through_untouched(tmp_path: Path) -> None:
    builder = tiny_sets.TinyDays(data_dir=tmp_path)
    image_set = opened(builder)
    (rows,) = read_rows(image_set, shard_of(image_set, "test"))
    skip = {"image": tfds.decode.SkipDecoding()}
    stored = [row["image"] for row in tfds.as_numpy(builder.as_dataset("test", decoders=skip))]
    assert rows.images.tolist() == stored
    assert rows.stored.tolist() == [[4, 5, 3]] * len(stored)


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (tiny_sets.TinyUnlabelled, "label -1 in row 0 of shard 0 of split 'test' is out of range"),
        (tiny_sets.TinyUneven, "is 4x4x3, expected 4x5x3: images of differing shapes"),
        (tiny_sets.TinyJpeg, "row 0 of shard 0 of split 'test' is not stored as PNG"),
    ],
)
def test_a_bad_row_is_refused_by_its_place(
    kind: type[tiny_sets.TinyBuilder], problem: str, tmp_path: Path
) -> None:
    assert problem in problem_of(opened(kind(data_dir=tmp_path)), "test")


def test_a_shard_cut_at_a_records_edge_is_refused(tmp_path: Path) -> None:
    builder = tiny_sets.TinyDays(data_dir=tmp_path)
    image_set = opened(builder)
    path = str(path_of(builder, "train"))
    records = list(tf.data.TFRecordDataset(path).as_numpy_iterator())
    with tf.io.TFRecordWriter(path) as writer:
        for record in records[:-1]:
            writer.write(record)
    assert "holds 39 rows, expected the 40 that the set declares; remove" in problem_of(
        image_set, "train"
    )


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_shard_is_refused(tmp_path: Path, damage: str) -> None:
    builder = tiny_sets.TinyDays(data_dir=tmp_path)
    image_set = opened(builder)
    path = path_of(builder, "train")
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-9] if damage == "cut" else content)
    problem = problem_of(image_set, "train")
    assert problem.startswith("shard 0 of split 'train' cannot be read after row ")
    assert "to have it prepared again" in problem


@pytest.mark.parametrize(
    ("kept", "problem"), [(40, "cannot be decoded"), (20, "is a PNG cut short inside its header")]
)
def test_a_cut_image_is_refused_by_its_place(kept: int, problem: str, tmp_path: Path) -> None:
    builder = tiny_sets.TinyDays(data_dir=tmp_path)
    image_set = opened(builder)
    path = str(path_of(builder, "test"))
    records = list(tf.data.TFRecordDataset(path).as_numpy_iterator())
    example = tf.train.Example.FromString(records[4])
    png = example.features.feature["image"].bytes_list
    png.value[0] = png.value[0][:kept]
    records[4] = example.SerializeToString()
    with tf.io.TFRecordWriter(path) as writer:
        for record in records:
            writer.write(record)
    assert f"the image in row 4 of shard 0 of split 'test' {problem}" in problem_of(
        image_set, "test"
    )
