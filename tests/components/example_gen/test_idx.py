import gzip
import hashlib
import os
import re
import struct
import zlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from idx_contents import idx_file, split_of

from components.example_gen import idx
from components.example_gen.data_error import DataError
from components.example_gen.image_set import ImageSet
from components.example_gen.images import decode, read_arrays, read_rows
from components.example_gen.opening import open_dataset
from tests.refusals import refusal_of
from trainer.host.paths import slug

Write = Callable[..., Path]


def open_directory(directory: Path) -> ImageSet:
    return open_dataset(f"idx:{directory}", data_dir=None)


def test_images_and_labels_are_read(idx_folder: Write) -> None:
    image_set = open_directory(idx_folder())
    images, labels = read_arrays(image_set, "train")
    np.testing.assert_array_equal(images[..., 0], split_of(48, 1)[0])
    np.testing.assert_array_equal(labels, split_of(48, 1)[1])
    assert image_set.info.image_shape == (6, 5, 1)
    assert image_set.info.class_names == ("0", "1", "2")
    assert (image_set.rows("train"), image_set.rows("test")) == (48, 12)


def test_the_stored_images_are_png_of_the_pixels(idx_folder: Write) -> None:
    image_set = open_directory(idx_folder())
    (rows,) = read_rows(image_set, image_set.shards[1])
    pixels = rows.pixels
    np.testing.assert_array_equal(decode(rows.images, image_set.info.image_spec), pixels)


def test_gzip_changes_neither_content_nor_fingerprint(idx_folder: Write) -> None:
    plain, zipped = open_directory(idx_folder("a")), open_directory(idx_folder("b", gz=True))
    assert plain.info.fingerprint == zipped.info.fingerprint


def test_one_changed_pixel_changes_the_fingerprint(idx_folder: Write) -> None:
    images, _ = split_of(48, 1)
    images[7, 2, 3] ^= 1
    changed = open_directory(idx_folder("b", train_images=idx_file(images)))
    assert changed.info.fingerprint != open_directory(idx_folder("a")).info.fingerprint


def test_the_name_comes_from_the_directory_and_the_test_files(idx_folder: Write) -> None:
    directory = idx_folder("My Digits-2")
    digests = [
        hashlib.sha256((directory / f"t10k-{name}-ubyte").read_bytes()).hexdigest()
        for name in ("images-idx3", "labels-idx1")
    ]
    digest = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    assert open_directory(directory).info.name == f"idx_my_digits_2_{digest[:8]}"


@pytest.mark.parametrize("length", [40, 46, 230])
def test_a_long_name_is_cut_to_what_tfx_takes(length: int, idx_folder: Write) -> None:
    name = open_directory(idx_folder("d" * length)).info.name
    assert re.fullmatch("idx_d{40}_[0-9a-f]{8}", name)
    assert slug(name) == name  # as a pipeline's name, which may have 63 characters


def test_a_name_of_another_script_leaves_the_digest(idx_folder: Write) -> None:
    assert re.fullmatch("idx_[0-9a-f]{8}", open_directory(idx_folder("数字")).info.name)


def test_two_directories_of_one_name_are_two_sets(idx_folder: Write) -> None:
    other = idx_folder("b/digits", test_images=idx_file(split_of(12, 9)[0]))
    assert open_directory(idx_folder("a/digits")).info.name != open_directory(other).info.name


def test_the_name_stays_when_the_directory_moves_or_training_data_grows(idx_folder: Write) -> None:
    images, labels = split_of(96, 9)
    moved = idx_folder("b/digits", train_images=idx_file(images), train_labels=idx_file(labels))
    assert open_directory(idx_folder("a/digits")).info.name == open_directory(moved).info.name


def test_both_spellings_of_the_file_names_are_taken(idx_folder: Write) -> None:
    directory = idx_folder()
    for path in list(directory.iterdir()):
        path.rename(directory / path.name.replace("-idx", ".idx"))
    assert open_directory(directory).rows("test") == 12


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize("mark", ["-", "."])
def test_files_in_directories_of_their_names_are_read(
    idx_folder: Write, gz: bool, mark: str
) -> None:
    directory = idx_folder(gz=gz)
    for path in list(directory.iterdir()):
        name = path.name.removesuffix(".gz").replace("-idx", f"{mark}idx")
        path.rename(directory / "moved")
        (directory / name).mkdir()
        (directory / "moved").rename(directory / name / f"{name}{'.gz' * gz}")
    assert open_directory(directory).rows("test") == 12


def test_an_archive_that_holds_each_file_twice_is_read(idx_folder: Write) -> None:
    # As Kaggle's: t10k-images.idx3-ubyte and t10k-images-idx3-ubyte/t10k-images-idx3-ubyte.
    directory = idx_folder()
    for path in list(directory.iterdir()):
        (directory / path.name.replace("-idx", ".idx")).write_bytes(path.read_bytes())
        path.rename(directory / "moved")
        path.mkdir()
        (directory / "moved").rename(path / path.name)
    assert open_directory(directory).rows("test") == 12
    one = directory / "t10k-labels.idx1-ubyte"
    other = directory / "t10k-labels-idx1-ubyte" / "t10k-labels-idx1-ubyte"
    other.write_bytes(one.read_bytes()[:-1] + b"\xff")
    os.utime(other, ns=(one.stat().st_atime_ns, one.stat().st_mtime_ns))  # as archives keep it
    assert (
        "t10k-labels.idx1-ubyte and t10k-labels-idx1-ubyte/t10k-labels-idx1-ubyte are both there "
        "and differ, expected one of them: remove the other"
    ) in refusal(directory)


def test_a_gzip_of_several_members_is_read(idx_folder: Write) -> None:
    directory = idx_folder(gz=True)
    path = directory / "t10k-images-idx3-ubyte.gz"
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:100]) + gzip.compress(content[100:]) + bytes(7))
    assert open_directory(directory).rows("test") == 12


@pytest.mark.parametrize("changed", ["nothing", "train_images", "test_images"])
def test_a_published_set_is_recognized_by_its_test_files(
    idx_folder: Write,
    monkeypatch: pytest.MonkeyPatch,
    changed: str,
) -> None:
    directory = idx_folder()
    digests = [
        hashlib.sha256((directory / f"t10k-{name}-ubyte").read_bytes()).hexdigest()
        for name in ("images-idx3", "labels-idx1")
    ]
    published = ("fruits", ("apple", "pear", "plum"))
    monkeypatch.setattr(idx, "_PUBLISHED", {tuple(digests): published})
    rows = 12 if changed == "test_images" else 48
    other = {} if changed == "nothing" else {changed: idx_file(split_of(rows, 9)[0])}
    image_set = open_directory(idx_folder("other", **other))
    assert (image_set.info.name == "fruits") == (changed != "test_images")
    assert (image_set.info.class_names == published[1]) == (changed != "test_images")


def test_a_published_set_with_more_classes_is_another_set(
    idx_folder: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = idx_folder()
    image_set = open_directory(directory)
    monkeypatch.setattr(idx, "_PUBLISHED", defaultdict(lambda: ("pair", ("a", "b"))))
    assert open_directory(directory).info == image_set.info


def test_files_that_change_while_they_are_read_are_refused(idx_folder: Write) -> None:
    directory = idx_folder()
    image_set = open_directory(directory)
    path = directory / "train-images-idx3-ubyte"
    for content in (idx_file(split_of(48, 9)[0]), idx_file(split_of(47, 1)[0])):
        path.write_bytes(content)
        with pytest.raises(DataError, match="has changed since the run began"):
            read_arrays(image_set, "train")


def refusal(directory: Path) -> str:
    return refusal_of(DataError, open_directory, directory)


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    assert "there is no such directory" in refusal(tmp_path / "nowhere")


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "is a file, expected the directory" in refusal(tmp_path / "file")


def test_a_missing_file_is_named(idx_folder: Write) -> None:
    directory = idx_folder()
    (directory / "t10k-labels-idx1-ubyte").unlink()
    missing = "t10k-labels-idx1-ubyte is missing, expected it there"
    assert missing in refusal(directory)
    (directory / "t10k-labels-idx1-ubyte").mkdir()  # in which it may stand
    assert missing in refusal(directory)


def test_two_files_for_one_role_are_refused(idx_folder: Write) -> None:
    directory = idx_folder()
    (directory / "train-images-idx3-ubyte.gz").touch()
    assert (
        "train-images-idx3-ubyte and train-images-idx3-ubyte.gz are both there and differ, "
        "expected one of them" in refusal(directory)
    )


def test_an_unreadable_file_is_refused(idx_folder: Write) -> None:
    directory = idx_folder()
    path = directory / "train-images-idx3-ubyte"
    path.unlink()
    path.symlink_to("nowhere")  # unreadable for root too
    assert "cannot be read (No such file or directory); expected" in refusal(directory)


IMAGES, LABELS = split_of(48, 1)
TEST_IMAGES, TEST_LABELS = split_of(12, 2)
OUT_OF_RANGE = np.where(np.arange(12) == 4, 3, TEST_LABELS)


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        (
            {"train_images": struct.pack(">IIII", 0xD03, 1, 1, 1) + b"x"},
            "wrong IDX magic number 0x00000d03, expected 0x00000803 (images)",
        ),
        (
            {"train_images": idx_file(LABELS)},
            "expected 0x00000803 (images): this is a file of labels",
        ),
        ({"test_images": b"abc"}, "3 bytes long, expected an IDX header of 16 bytes"),
        (
            {"train_labels": idx_file(LABELS[1:])},
            "holds 47 labels, expected 48, one per image of train-images-idx3-ubyte",
        ),
        (
            {"train_images": idx_file(IMAGES)[: -6 * 5]},
            "truncated: it holds 47 images, expected the 48 that its header declares",
        ),
        ({"test_labels": idx_file(TEST_LABELS)[:-2]}, "it holds 10 labels, expected the 12"),
        ({"train_images": idx_file(IMAGES) + b"more"}, "4 trailing bytes after the 48 images"),
        (
            {"test_labels": idx_file(OUT_OF_RANGE)},
            "label 3 in test is out of range, expected 0 to 2",
        ),
        (
            {"train_labels": idx_file(np.arange(48) % 2 * 2)},
            "the train split has no image of class 1, expected each of the 3",
        ),
        (
            {"train_labels": idx_file(np.where(np.arange(48) == 7, 250, LABELS))},
            "20, 21, 22 and 227 more, expected each of the 251 classes in it, since the highest "
            "training label is 250: add images, or correct the labels",
        ),
        (
            {"test_labels": idx_file(np.arange(12) % 2 * 2)},
            "the test split has no image of class 1, expected each of the 3",
        ),
        (
            {"train_labels": idx_file(LABELS * 0), "test_labels": idx_file(TEST_LABELS * 0)},
            "the training labels name one class, expected two or more",
        ),
        (
            {"test_images": idx_file(TEST_IMAGES[:0]), "test_labels": idx_file(TEST_LABELS[:0])},
            "holds no image (an empty split)",
        ),
        ({"test_labels": idx_file(TEST_LABELS[:0])}, "holds 0 labels, expected 12"),
        ({"train_images": idx_file(IMAGES[:, :0])}, "images of 0x5 pixels, expected at least 1x1"),
        (
            {"test_images": idx_file(np.zeros((12, 7, 5)))},
            "images of differing shapes: 6x5x1 in train, 7x5x1 in test",
        ),
    ],
)
def test_files_that_hold_no_whole_data_set_are_refused(
    idx_folder: Write, contents: dict[str, bytes], said: str
) -> None:
    assert said in refusal(idx_folder(**contents))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"abc", "3 bytes long, expected an IDX header of 16 bytes"),
        (idx_file(IMAGES)[: -6 * 5], "truncated: it holds 47 images, expected the 48"),
        (idx_file(IMAGES) + b"more", "4 trailing bytes after the 48 images"),
    ],
)
def test_so_are_compressed_ones(idx_folder: Write, content: bytes, said: str) -> None:
    assert said in refusal(idx_folder(gz=True, train_images=content))


DAMAGES = {
    **{f"cut at {kept}": (lambda gz, kept=kept: gz[:kept]) for kept in (5, 30, 200, -9, -8, -1)},
    "another checksum": lambda gz: gz[:-5] + bytes([gz[-5] ^ 1]) + gz[-4:],
    "another length": lambda gz: gz[:-1] + bytes([gz[-1] ^ 1]),
    "more behind it": lambda gz: gz + b"more",
    "other bytes in it": lambda gz: gz[:10] + b"\xff\xff\xff\xff" + gz[14:],
}
SAID = {
    "cut": "truncated gzip",
    "another": "a failed checksum: gzip's own does not match",
    "more": "trailing bytes after the gzip stream",
    "other": "damaged gzip",
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_gzip_that_is_not_as_it_was_made_is_refused(idx_folder: Write, name: str) -> None:
    directory = idx_folder(gz=True)
    path = directory / "train-images-idx3-ubyte.gz"
    path.write_bytes(DAMAGES[name](path.read_bytes()))
    assert SAID[name.split()[0]] in refusal(directory)


def test_a_gzip_flushed_at_a_records_edge_and_cut_there_is_refused(idx_folder: Write) -> None:
    directory = idx_folder(gz=True)
    stream = zlib.compressobj(wbits=31)
    whole_records = stream.compress(idx_file(split_of(48, 1)[0])[: 16 + 30 * 10])
    flushed = whole_records + stream.flush(zlib.Z_SYNC_FLUSH)
    (directory / "train-images-idx3-ubyte.gz").write_bytes(flushed)
    assert "truncated gzip" in refusal(directory)
