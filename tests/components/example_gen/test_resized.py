"""A set of images of any size and format, from its source to examples and pixels."""

import apache_beam as beam
import drawn_files
import numpy as np
import pytest
import tensorflow as tf

from components.example_gen.data_config import DataConfig
from components.example_gen.data_error import DataError
from components.example_gen.encoded import stored_shape
from components.example_gen.example_facts import hash_examples
from components.example_gen.generate import finish, generate
from components.example_gen.image_set import ImageSet, SourceRows
from components.example_gen.images import (
    decode,
    digest_split,
    read_arrays,
    read_examples,
    read_rows,
)
from tests.refusals import refusal_of
from tests.trainer import image_files
from trainer.features import RESIZES, ImageSpec

DATA = DataConfig(image_size="16x20")


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    uri = str(tmp_path_factory.mktemp("examples"))
    with beam.Pipeline("FnApiRunner") as pipeline:
        generate(pipeline, drawn_files.drawn(DATA), uri)
    return uri, finish(uri)


def examples_of(uri: str, split: str) -> list[tf.train.Example]:
    files = tf.io.gfile.glob(f"{uri}/Split-{split}/*")
    records = tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()
    return [tf.train.Example.FromString(record) for record in records]


def values(example: tf.train.Example, name: str) -> list:
    feature = example.features.feature[name]
    return list(getattr(feature, feature.WhichOneof("kind")).value)


def test_the_bytes_pass_through_with_what_describes_them(generated) -> None:
    uri, _ = generated
    given = drawn_files.images_of("test")
    for example in examples_of(uri, "test"):
        (image,) = values(example, "image")
        row = given.index(image)
        assert values(example, "weight") == [row / 2]
        assert values(example, "year") == [2000 + row]
        assert values(example, "camera") == [f"no. {row}".encode()]
        shape = [
            *values(example, "height"),
            *values(example, "width"),
            *values(example, "channels"),
        ]
        assert tuple(shape) == stored_shape(image)


def test_what_the_network_sees_is_stored_to_learn_from_where_that_is_smaller(generated) -> None:
    uri, _ = generated
    image_set = drawn_files.drawn(DATA)
    spec, given = image_set.info.image_spec, drawn_files.images_of("train")
    examples = [one for split in ("train", "eval") for one in examples_of(uri, split)]
    assert len(examples) == len(given)
    smaller = 0
    for example in examples:
        (image,), (year,) = values(example, "image"), values(example, "year")
        own = given[year - 2000]
        smaller += len(image) < len(own)
        assert len(image) < len(own) or image == own
        shape = [value for name in ("height", "width") for value in values(example, name)]
        assert tuple(shape) == stored_shape(own)[:2]
        np.testing.assert_array_equal(*decode(np.array([image, own], object), spec))
    assert 0 < smaller < len(given)


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_what_the_network_sees_is_decoded_to_the_same_pixels(resize: str, channels: int) -> None:
    spec = ImageSpec((16, 20, channels), ("a", "b"), resize)
    images = np.array(list(image_files.all_files().values()), object)
    pixels = decode(images, spec)
    pngs = tf.io.encode_png(pixels).numpy()
    np.testing.assert_array_equal(decode(pngs, spec), pixels)


@pytest.mark.parametrize(
    ("bound", "value", "rows"), [("_BATCH_BYTES", 1, [20, 20, 16]), ("BATCH_ROWS", 40, [40, 16])]
)
def test_batches_are_bounded_in_bytes_and_in_rows(
    generated, monkeypatch, bound: str, value: int, rows: list[int]
) -> None:
    uri, _ = generated
    (whole,) = read_examples(f"{uri}/Split-train")
    monkeypatch.setattr(f"components.example_gen.images.{bound}", value)
    batches = list(read_examples(f"{uri}/Split-train"))
    assert [len(labels) for *_, labels in batches] == rows  # 56 of 64 rows are in train
    for parts, expected in zip(zip(*batches, strict=True), whole, strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), expected)


def test_the_summary_says_what_was_stored_and_left_out(generated) -> None:
    _, summary = generated
    sides = [stored_shape(image)[:2] for image in drawn_files.images_of("test")]
    assert summary.image_shape == (16, 20, 3)
    assert (summary.resize, summary.skipped, summary.ignored) == ("pad", 2, 3)
    assert summary.splits["test"].sizes[0] == min(sides)
    greys = [name for name in image_files.all_files() if "grey" in name or "black and" in name]
    assert summary.splits["test"].grey == len(greys)
    assert summary.splits["train"].grey == 0


def test_digests_are_those_of_the_pixels_that_the_network_sees(generated) -> None:
    uri, summary = generated
    image_set = drawn_files.drawn(DATA)
    assert digest_split(f"{uri}/Split-test", image_set.info.image_spec) == (
        summary.splits["test"].digest
    )
    pixels, labels = read_arrays(image_set, "test")
    assert pixels.shape[1:] == (16, 20, 3)
    assert len(np.unique(hash_examples(pixels, labels), axis=0)) > 30


def test_pixels_that_a_source_gives_are_resized_too() -> None:
    rng = np.random.default_rng(0)
    given = rng.integers(0, 256, (4, 9, 30, 1), np.uint8)
    base = drawn_files.drawn(DataConfig(image_size="9x15", resize="stretch"))
    shard = base.shards[0].__class__("test", 0, 4)
    labels = np.zeros(4, np.int64)
    image_set = ImageSet(base.info, (shard,), {}, lambda _: [SourceRows(labels, pixels=given)])
    (rows,) = read_rows(image_set, shard)
    assert rows.pixels.shape == (4, 9, 15, 3)
    assert rows.stored.tolist() == [[9, 30, 1]] * 4


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (None, "from row 3 of shard 0 of split 'test' on there are 2 labels and none of their"),
        (np.zeros((3, 9, 9, 1), np.uint8), "on there are 2 labels and 3 of their images, expected"),
        (np.zeros((2, 9, 9, 1)), "shard 0 of split 'test' has pixels of float64, expected uint8"),
    ],
)
def test_a_source_gives_an_image_for_each_label(given: np.ndarray | None, problem: str) -> None:
    assert problem in refusal(SourceRows(np.zeros(2, np.int64), pixels=given))


def test_a_label_out_of_range_is_refused_by_its_place() -> None:
    rows = SourceRows(np.array([0, 9]), pixels=np.zeros((2, 9, 9, 1), np.uint8))
    assert "label 9 in row 4 of shard 0 of split 'test' is out of range, expected 0" in refusal(
        rows
    )


def problem_of(image: bytes) -> str:
    images = np.array([image_files.encoded(image_files.picture(), "PNG"), image], object)
    return refusal(SourceRows(np.zeros(2, np.int64), images))


def refusal(rows: SourceRows) -> str:
    """What is said of two rows that come after three good ones."""
    base = drawn_files.drawn(DATA)
    shard = base.shards[0].__class__("test", 0, 5)
    good = SourceRows(np.zeros(3, np.int64), pixels=np.zeros((3, 9, 9, 1), np.uint8))
    image_set = ImageSet(base.info, (shard,), {}, lambda _: [good, rows])
    return refusal_of(DataError, list, read_rows(image_set, shard))


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        (b"no image", "cannot be read, expected a PNG, JPEG, BMP or GIF"),
        (image_files.encoded(image_files.picture(), "PNG")[:60], "cannot be decoded, expected a"),
        (image_files.encoded(image_files.picture().convert("P"), "BMP"), "BMP of 24 bits or GIF"),
    ],
)
def test_an_image_that_no_model_takes_is_refused_by_its_place(image: bytes, problem: str) -> None:
    assert problem_of(image).startswith("the image in row 4 of shard 0 of split 'test'")
    assert problem in problem_of(image)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("PNG, see-through grey", (15, 21, 2)),
        ("PNG, palette", (15, 21, 3)),
        ("PNG, black and white", (15, 21, 1)),
        ("JPEG, CMYK", (15, 21, 4)),
        ("JPEG, grey", (15, 21, 1)),
        ("JPEG, orientation 6", (15, 21, 3)),  # as stored, not as seen
        ("BMP", (15, 21, 3)),
        ("GIF", (15, 21, 3)),
    ],
)
def test_the_header_gives_the_stored_shape(name: str, shape: tuple[int, int, int]) -> None:
    assert stored_shape(image_files.all_files()[name]) == shape
