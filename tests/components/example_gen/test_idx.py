import gzip
import hashlib
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.example_gen.errors import DataError
from components.example_gen.idx import read_directory
from components.example_gen.known_sets import KNOWN_SETS, recognize
from components.example_gen.spec import slug

Write = Callable[..., Path]
AsIdx = Callable[[np.ndarray], bytes]
SplitOf = Callable[[int, int], tuple[np.ndarray, np.ndarray]]


def test_images_and_labels_are_read(idx_folder: Write, split_of: SplitOf) -> None:
    arrays = read_directory(idx_folder())
    images, labels = split_of(48, 1)
    np.testing.assert_array_equal(arrays.splits["train"].images, images[..., np.newaxis])
    np.testing.assert_array_equal(arrays.splits["train"].labels, labels)
    assert arrays.image_shape == (6, 5, 1)
    assert arrays.class_names == ("0", "1", "2")


def test_gzip_changes_neither_content_nor_fingerprint(idx_folder: Write) -> None:
    plain, zipped = read_directory(idx_folder("a")), read_directory(idx_folder("b", gz=True))
    assert plain.fingerprint == zipped.fingerprint


def test_one_changed_pixel_changes_the_fingerprint(
    idx_folder: Write, idx_file: AsIdx, split_of: SplitOf
) -> None:
    images, _ = split_of(48, 1)
    images[7, 2, 3] ^= 1
    changed = read_directory(idx_folder("b", train_images=idx_file(images)))
    assert changed.fingerprint != read_directory(idx_folder("a")).fingerprint


def test_the_name_comes_from_the_directory_and_the_test_files(idx_folder: Write) -> None:
    directory = idx_folder("My Digits-2")
    digests = [
        hashlib.sha256((directory / f"t10k-{name}-ubyte").read_bytes()).hexdigest()
        for name in ("images-idx3", "labels-idx1")
    ]
    digest = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    assert read_directory(directory).name == f"idx_my_digits_2_{digest[:8]}"


@pytest.mark.parametrize("length", [40, 46, 230])
def test_a_long_name_is_cut_to_what_tfx_takes(length: int, idx_folder: Write) -> None:
    name = read_directory(idx_folder("d" * length)).name
    assert re.fullmatch("idx_d{40}_[0-9a-f]{8}", name)
    assert slug(name) == name  # as a pipeline's name, which may have 63 characters


def test_a_name_of_another_script_leaves_the_digest(idx_folder: Write) -> None:
    assert re.fullmatch("idx_[0-9a-f]{8}", read_directory(idx_folder("数字")).name)


def test_two_directories_of_one_name_are_two_sets(
    idx_folder: Write, idx_file: AsIdx, split_of: SplitOf
) -> None:
    other = idx_folder("b/digits", test_images=idx_file(split_of(12, 9)[0]))
    assert read_directory(idx_folder("a/digits")).name != read_directory(other).name


def test_the_name_stays_when_the_directory_moves_or_training_data_grows(
    idx_folder: Write, idx_file: AsIdx, split_of: SplitOf
) -> None:
    images, labels = split_of(96, 9)
    moved = idx_folder("b/digits", train_images=idx_file(images), train_labels=idx_file(labels))
    assert read_directory(idx_folder("a/digits")).name == read_directory(moved).name


def test_both_spellings_of_the_file_names_are_taken(idx_folder: Write) -> None:
    directory = idx_folder()
    for path in list(directory.iterdir()):
        path.rename(directory / path.name.replace("-idx", ".idx"))
    assert len(read_directory(directory).splits["test"].labels) == 12


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
    assert len(read_directory(directory).splits["test"].labels) == 12


def test_an_archive_that_holds_each_file_twice_is_read(idx_folder: Write) -> None:
    # As Kaggle's: t10k-images.idx3-ubyte and t10k-images-idx3-ubyte/t10k-images-idx3-ubyte.
    directory = idx_folder()
    for path in list(directory.iterdir()):
        (directory / path.name.replace("-idx", ".idx")).write_bytes(path.read_bytes())
        path.rename(directory / "moved")
        path.mkdir()
        (directory / "moved").rename(path / path.name)
    assert len(read_directory(directory).splits["test"].labels) == 12
    (directory / "t10k-labels-idx1-ubyte" / "t10k-labels-idx1-ubyte").write_bytes(b"other")
    assert (
        "t10k-labels.idx1-ubyte and t10k-labels-idx1-ubyte/t10k-labels-idx1-ubyte are both there "
        "and differ, expected one of them: remove the other"
    ) in refusal(directory)


def test_an_empty_directory_of_a_files_name_is_refused(idx_folder: Write) -> None:
    directory = idx_folder()
    (directory / "t10k-labels-idx1-ubyte").unlink()
    (directory / "t10k-labels-idx1-ubyte").mkdir()
    assert "t10k-labels-idx1-ubyte is missing, expected it there" in refusal(directory)


def test_a_gzip_of_several_members_is_read(idx_folder: Write) -> None:
    directory = idx_folder(gz=True)
    path = directory / "t10k-images-idx3-ubyte.gz"
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:100]) + gzip.compress(content[100:]) + bytes(7))
    assert len(read_directory(directory).splits["test"].labels) == 12


@pytest.mark.parametrize("known", KNOWN_SETS, ids=lambda known: known.name)
def test_a_known_set_is_recognized_by_its_test_files(known) -> None:  # type: ignore[no-untyped-def]
    assert recognize(known.test_images_sha256, known.test_labels_sha256) is known
    assert recognize(known.test_images_sha256, "0" * 64) is None


def refusal(directory: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_directory(directory)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    assert "there is no such directory" in refusal(tmp_path / "nowhere")


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "is a file, expected the directory" in refusal(tmp_path / "file")


def test_a_missing_file_is_named(idx_folder: Write) -> None:
    directory = idx_folder()
    (directory / "t10k-labels-idx1-ubyte").unlink()
    assert "t10k-labels-idx1-ubyte is missing, expected it there" in refusal(directory)


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


def test_a_wrong_magic_number_is_refused(idx_folder: Write) -> None:
    directory = idx_folder(train_images=struct.pack(">IIII", 0xD03, 1, 1, 1) + b"x")
    assert "wrong IDX magic number 0x00000d03, expected 0x00000803 (images)" in refusal(directory)


def test_labels_in_place_of_images_are_named_so(
    idx_folder: Write, idx_file: AsIdx, split_of: SplitOf
) -> None:
    directory = idx_folder(train_images=idx_file(split_of(48, 1)[1]))
    assert "expected 0x00000803 (images): this is a file of labels" in refusal(directory)


def test_a_file_without_a_header_is_refused(idx_folder: Write) -> None:
    assert "3 bytes long, expected an IDX header of 16 bytes" in refusal(
        idx_folder(test_images=b"abc")
    )


def test_a_label_file_of_another_length_is_refused(
    idx_folder: Write, idx_file: AsIdx, split_of: SplitOf
) -> None:
    directory = idx_folder(train_labels=idx_file(split_of(47, 1)[1]))
    assert "holds 47 labels, expected 48, one per image of train-images-idx3-ubyte" in refusal(
        directory
    )


@pytest.mark.parametrize("gz", [False, True])
def test_a_file_cut_at_a_records_edge_is_refused(
    idx_folder: Write, idx_file: AsIdx, split_of: SplitOf, gz: bool
) -> None:
    content = idx_file(split_of(48, 1)[0])[: -6 * 5]
    assert "truncated: it holds 47 images, expected the 48 that its header declares" in refusal(
        idx_folder(train_images=content, gz=gz)
    )


def test_labels_cut_short_are_refused(
    idx_folder: Write, idx_file: AsIdx, split_of: SplitOf
) -> None:
    content = idx_file(split_of(12, 2)[1])[:-2]
    assert "truncated: it holds 10 labels, expected the 12" in refusal(
        idx_folder(test_labels=content)
    )


def test_trailing_bytes_are_refused(idx_folder: Write, idx_file: AsIdx, split_of: SplitOf) -> None:
    content = idx_file(split_of(48, 1)[0]) + b"more"
    assert "4 trailing bytes after the 48 images" in refusal(idx_folder(train_images=content))


@pytest.mark.parametrize("kept", [5, 30, 200, -9, -8, -1])
def test_a_truncated_gzip_is_refused(idx_folder: Write, kept: int) -> None:
    directory = idx_folder(gz=True)
    path = directory / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:kept])
    assert "truncated gzip" in refusal(directory)


def test_a_gzip_flushed_at_a_records_edge_and_cut_there_is_refused(
    idx_folder: Write, idx_file: AsIdx, split_of: SplitOf
) -> None:
    directory = idx_folder(gz=True)
    stream = zlib.compressobj(wbits=31)
    whole_records = stream.compress(idx_file(split_of(48, 1)[0])[: 16 + 30 * 10])
    flushed = whole_records + stream.flush(zlib.Z_SYNC_FLUSH)
    (directory / "train-images-idx3-ubyte.gz").write_bytes(flushed)
    assert "truncated gzip" in refusal(directory)


@pytest.mark.parametrize(("at", "what"), [(-5, "checksum"), (-1, "length")])
def test_a_gzip_whose_trailer_does_not_match_is_a_failed_checksum(
    idx_folder: Write, at: int, what: str
) -> None:
    directory = idx_folder(gz=True)
    path = directory / "train-labels-idx1-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    assert "a failed checksum: gzip's own does not match" in refusal(directory), what


def test_bytes_after_the_gzip_stream_are_refused(idx_folder: Write) -> None:
    directory = idx_folder(gz=True)
    path = directory / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes() + b"more")
    assert "trailing bytes after the gzip stream" in refusal(directory)


def test_a_damaged_gzip_is_refused(idx_folder: Write) -> None:
    directory = idx_folder(gz=True)
    path = directory / "train-images-idx3-ubyte.gz"
    content = path.read_bytes()
    path.write_bytes(content[:10] + b"\xff\xff\xff\xff" + content[14:])
    assert "damaged gzip" in refusal(directory)


def test_a_test_label_out_of_range_is_refused(
    idx_folder: Write, idx_file: AsIdx, split_of: SplitOf
) -> None:
    labels = split_of(12, 2)[1]
    labels[4] = 3
    assert "label 3 in test is out of range, expected 0 to 2" in refusal(
        idx_folder(test_labels=idx_file(labels))
    )


@pytest.mark.parametrize(("split", "rows"), [("train", 48), ("test", 12)])
def test_a_missing_class_is_refused(
    idx_folder: Write, idx_file: AsIdx, split: str, rows: int
) -> None:
    labels = idx_file(np.arange(rows) % 2 * 2)  # 0 and 2
    directory = idx_folder(**{f"{split}_labels": labels})
    assert f"the {split} split has no image of class 1, expected each of the 3" in refusal(
        directory
    )


def test_a_single_class_is_refused(idx_folder: Write, idx_file: AsIdx) -> None:
    directory = idx_folder(train_labels=idx_file(np.zeros(48)), test_labels=idx_file(np.zeros(12)))
    assert "the training labels name one class, expected two or more" in refusal(directory)


def test_an_empty_split_is_refused(idx_folder: Write, idx_file: AsIdx) -> None:
    directory = idx_folder(
        test_images=idx_file(np.zeros((0, 6, 5))), test_labels=idx_file(np.zeros(0))
    )
    assert "holds no image (an empty split)" in refusal(directory)


def test_images_of_no_size_are_refused(idx_folder: Write, idx_file: AsIdx) -> None:
    directory = idx_folder(train_images=idx_file(np.zeros((48, 0, 5))))
    assert "images of 0x5 pixels, expected at least 1x1" in refusal(directory)


def test_differing_shapes_of_train_and_test_are_refused(idx_folder: Write, idx_file: AsIdx) -> None:
    directory = idx_folder(test_images=idx_file(np.zeros((12, 7, 5), np.uint8)))
    assert "images of differing shapes: 6x5x1 in train, 7x5x1 in test" in refusal(directory)
