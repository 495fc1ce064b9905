import dataclasses
import hashlib
import logging
import os
import re
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from pictures import fill, picture

from components.example_gen import file_reading
from components.example_gen.data_config import DataConfig
from components.example_gen.data_error import DataError
from components.example_gen.image_set import ImageSet
from components.example_gen.images import read_rows
from components.example_gen.opening import open_dataset
from components.example_gen.sources import find_name, parse_dataset
from tests.refusals import refusal_of
from tests.trainer.image_files import encoded
from trainer.host.paths import slug

# The cut leaves a class of 20 images without one of test in 0.7**20 = 0.08 % of cases.
AS_STORED = DataConfig(test_fraction=0.3)
FITTED = dataclasses.replace(AS_STORED, image_size="8")


def opened(directory: Path, data: DataConfig = FITTED) -> ImageSet:
    return open_dataset(f"folder:{directory}", data, data_dir=None)


def refusal(directory: Path, data: DataConfig = FITTED) -> str:
    return refusal_of(DataError, opened, directory, data)


def images_of(image_set: ImageSet, split: str) -> dict[bytes, str]:
    """The stored bytes of each image, with the name of its class."""
    names = image_set.info.class_names
    return {
        image: names[label]
        for shard in image_set.shards_of(split)
        for rows in image_set.read(shard)
        for image, label in zip(rows.images, rows.labels, strict=True)
    }


@pytest.fixture
def two_classes(tmp_path: Path) -> Path:
    """DIR/CLASS with 40 cats and 30 dogs."""
    fill(tmp_path / "pets" / "cat", 40)
    fill(tmp_path / "pets" / "dog", 30, first=100)
    return tmp_path / "pets"


@pytest.fixture
def split_folders(tmp_path: Path) -> Path:
    """DIR/train/CLASS and DIR/test/CLASS."""
    for number, name in enumerate(["train/dog", "train/cat", "test/cat", "test/dog"]):
        fill(tmp_path / "pets" / name, 5 + number, first=100 * number)
    return tmp_path / "pets"


def test_folders_for_train_and_test_are_the_splits(split_folders: Path) -> None:
    image_set = opened(split_folders)
    assert image_set.info.class_names == ("cat", "dog")
    assert (image_set.rows("train"), image_set.rows("test")) == (11, 15)
    expected = {path.read_bytes(): "dog" for path in (split_folders / "test" / "dog").iterdir()}
    expected |= {path.read_bytes(): "cat" for path in (split_folders / "test" / "cat").iterdir()}
    assert images_of(image_set, "test") == expected


def test_class_folders_alone_are_cut(two_classes: Path) -> None:
    image_set = opened(two_classes)
    train, test = images_of(image_set, "train"), images_of(image_set, "test")
    assert len(train) + len(test) == 70
    assert not train.keys() & test.keys()
    assert 8 <= len(test) <= 34  # 30 % of 70 is 21, with a standard deviation of 3.8
    stored = {path.read_bytes(): path.parent.name for path in two_classes.rglob("*.png")}
    assert stored == {**train, **test}


def test_an_image_stays_on_its_side_whatever_is_added_or_removed(two_classes: Path) -> None:
    before = images_of(opened(two_classes), "test")
    for path in sorted((two_classes / "cat").iterdir())[:10]:
        before.pop(path.read_bytes(), None)
        path.unlink()
    fill(two_classes / "dog", 30, first=500)
    after = images_of(opened(two_classes), "test")
    assert before.items() <= after.items()
    assert not before.keys() & images_of(opened(two_classes), "train").keys()


def test_a_larger_fraction_keeps_what_was_in_test(two_classes: Path) -> None:
    few = images_of(opened(two_classes), "test")
    many = images_of(opened(two_classes, DataConfig(image_size="8", test_fraction=0.5)), "test")
    assert few.items() < many.items()


def test_equal_files_are_on_one_side(two_classes: Path) -> None:
    for number, path in enumerate(sorted((two_classes / "cat").iterdir())):
        shutil.copy(path, two_classes / "cat" / f"copy{number}.png")
    image_set = opened(two_classes)
    assert not images_of(image_set, "train").keys() & images_of(image_set, "test").keys()


def test_the_fingerprint_follows_the_content_and_not_the_place(two_classes: Path) -> None:
    before = opened(two_classes).info
    moved = two_classes.rename(two_classes.parent / "elsewhere")
    (moved / "cat" / "0000.png").rename(moved / "cat" / "renamed.png")
    assert opened(moved).info.fingerprint == before.fingerprint
    os.utime(moved / "cat" / "0001.png")
    assert opened(moved).info.fingerprint == before.fingerprint
    shutil.move(moved / "cat" / "0001.png", moved / "dog" / "0001.png")
    relabelled = opened(moved).info.fingerprint
    (moved / "dog" / "0001.png").write_bytes(encoded(picture(999)))
    assert len({before.fingerprint, relabelled, opened(moved).info.fingerprint}) == 3


def test_the_name_of_a_set_with_its_own_test_split_follows_that(split_folders: Path) -> None:
    before = opened(split_folders).info.name
    assert re.fullmatch("folder_pets_[0-9a-f]{8}", before)
    fill(split_folders / "train" / "dog", 3, first=900)
    assert opened(split_folders).info.name == before
    fill(split_folders / "test" / "dog", 1, first=950)
    assert opened(split_folders).info.name != before


def test_the_name_of_a_set_that_is_cut_stays_while_it_grows(two_classes: Path) -> None:
    before = opened(two_classes).info.name
    fill(two_classes / "dog", 30, first=500)
    assert opened(two_classes).info.name == before
    fill(two_classes / "horse", 30, first=600)
    assert opened(two_classes).info.name != before


def test_the_name_is_found_from_the_images_of_test_alone(split_folders: Path) -> None:
    expected = opened(split_folders).info.name
    damage(list((split_folders / "train" / "cat").iterdir()))
    assert find_name(parse_dataset(f"folder:{split_folders}"), data_dir=None) == expected


def test_the_name_of_a_set_that_is_cut_is_found_from_its_folders(two_classes: Path) -> None:
    expected = opened(two_classes).info.name
    damage(list((two_classes / "cat").iterdir()))
    assert find_name(parse_dataset(f"folder:{two_classes}"), data_dir=None) == expected


def test_a_long_name_is_cut_to_what_tfx_takes(two_classes: Path) -> None:
    name = opened(two_classes.rename(two_classes.parent / ("d" * 200))).info.name
    assert slug(name) == name


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_each_format_is_read(tmp_path: Path, kind: str) -> None:
    fill(tmp_path / "a", 20, kind=kind)
    fill(tmp_path / "b", 20, kind=kind, first=50)
    image_set = opened(tmp_path)
    assert image_set.rows("train") + image_set.rows("test") == 40
    starts = {image[:4] for split in ("train", "test") for image in images_of(image_set, split)}
    written = (tmp_path / "a").iterdir().__next__().read_bytes()[:4]
    assert starts == {b"\x89PNG" if kind == "WEBP" else written}


def test_plain_png_of_one_size_need_no_step(two_classes: Path) -> None:
    info = opened(two_classes, AS_STORED).info
    assert (info.image_shape, info.resize, info.sizes) == ((12, 10, 3), "", None)


def test_jpeg_of_one_size_keep_it(tmp_path: Path) -> None:
    fill(tmp_path / "a", 20, kind="JPEG", mode="L")
    fill(tmp_path / "b", 20, kind="JPEG", mode="L", first=50)
    info = opened(tmp_path, AS_STORED).info
    assert info.image_shape == (12, 10, 1)
    assert info.resize


def test_differing_sizes_need_a_choice(tmp_path: Path) -> None:
    fill(tmp_path / "a", 35, sizes="many")
    fill(tmp_path / "b", 35, sizes="many", first=70)
    assert (
        "images of differing sizes: 8x9 the smallest, 10x12 the median, 14x13 the largest"
        in refusal(tmp_path, AS_STORED)
    )
    info = opened(tmp_path, dataclasses.replace(FITTED, image_size="16x12")).info
    assert (info.image_shape, info.resize) == ((16, 12, 3), "pad")
    assert info.sizes == ((8, 9), (10, 12), (14, 13))


def test_grey_images_are_grey_until_one_has_colour(tmp_path: Path) -> None:
    fill(tmp_path / "a", 20, mode="L")
    fill(tmp_path / "b", 20, mode="L", first=50)
    assert opened(tmp_path, AS_STORED).info.image_shape == (12, 10, 1)
    fill(tmp_path / "b", 1, first=90)
    info = opened(tmp_path, AS_STORED).info
    assert (info.image_shape, bool(info.resize)) == ((12, 10, 3), True)


def test_hidden_files_and_what_is_no_image_are_left_out_and_counted(two_classes: Path) -> None:
    (two_classes / "README").write_text("not a class")
    (two_classes / ".git").mkdir()
    (two_classes / "__MACOSX").mkdir()
    (two_classes / "cat" / ".hidden.png").write_bytes(encoded(picture(1)))
    (two_classes / "cat" / "Thumbs.db").write_bytes(b"none")
    (two_classes / "dog" / "empty").touch()
    (two_classes / "dog" / "scan").write_bytes(encoded(picture(77)))  # an image without a suffix
    os.mkfifo(two_classes / "dog" / "pipe")
    image_set = opened(two_classes)
    assert image_set.ignored == 7
    assert image_set.rows("train") + image_set.rows("test") == 71


def test_what_is_left_out_of_train_and_of_test_is_counted(split_folders: Path) -> None:
    for split in ("train", "test"):
        (split_folders / split / "README").touch()
        (split_folders / split / "cat" / ".hidden.png").touch()
    assert opened(split_folders).ignored == 4


def test_one_class_in_train_and_in_test_is_refused_by_its_folder(split_folders: Path) -> None:
    for split in ("train", "test"):
        shutil.rmtree(split_folders / split / "dog")
    assert f"folder:{split_folders}/train: holds one folder, 'cat'," in refusal(split_folders)


def test_images_are_found_at_any_depth(two_classes: Path) -> None:
    fill(two_classes / "cat" / "2026" / "may", 5, first=300)
    image_set = opened(two_classes)
    assert image_set.rows("train") + image_set.rows("test") == 75


def test_links_are_followed_and_a_loop_ends(two_classes: Path, tmp_path: Path) -> None:
    fill(tmp_path / "more", 5, first=300)
    (two_classes / "cat" / "more").symlink_to(tmp_path / "more")
    (two_classes / "cat" / "loop").symlink_to(two_classes / "cat")
    (two_classes / "dog" / "self").symlink_to("self")
    image_set = opened(two_classes)
    assert image_set.rows("train") + image_set.rows("test") == 75


def test_a_link_that_leads_nowhere_is_an_unreadable_image(two_classes: Path) -> None:
    (two_classes / "cat" / "gone.png").symlink_to("nowhere")
    assert "1 image cannot be read: cat/gone.png (No such file or directory)" in (
        refusal(two_classes)
    )


def test_unicode_names_are_one_class_in_either_form(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Käse") for form in ("NFC", "NFD"))
    fill(tmp_path / decomposed, 20)
    fill(tmp_path / composed, 5, first=30)
    fill(tmp_path / "数字", 20, first=50)
    (tmp_path / "数字" / "0050.png").rename(tmp_path / "数字" / os.fsdecode(b"\xff.png"))
    image_set = opened(tmp_path)
    assert image_set.info.class_names == (composed, "数字")
    assert image_set.rows("train") + image_set.rows("test") == 45
    assert len(images_of(image_set, "train")) == image_set.rows("train")


def test_a_class_name_that_is_no_text_is_refused(two_classes: Path) -> None:
    (two_classes / os.fsdecode(b"\xff")).mkdir()
    assert "is not UTF-8, expected a name that is: rename it" in refusal(two_classes)


def damage(paths: list[Path]) -> None:
    for path in paths:
        path.write_bytes(path.read_bytes()[:-30])


def test_broken_images_are_counted_and_ten_are_named(two_classes: Path) -> None:
    broken = sorted((two_classes / "cat").iterdir())[:12]
    damage(broken)
    (two_classes / "cat" / "00.txt").write_text("no image, and so no reason")
    message = refusal(two_classes)
    assert "12 images cannot be read: cat/0000.png (" in message
    assert "cat/0009.png" in message
    assert "cat/0010.png" not in message
    assert "; and 2 more; expected whole images" in message
    assert message.endswith("by --set data.skip_unreadable=12")


def test_as_many_broken_images_as_allowed_are_left_out(two_classes: Path) -> None:
    damage(sorted((two_classes / "cat").iterdir())[:2])
    assert "2 images cannot" in refusal(two_classes, dataclasses.replace(FITTED, skip_unreadable=1))
    image_set = opened(two_classes, dataclasses.replace(FITTED, skip_unreadable=2))
    assert image_set.skipped == 2
    assert image_set.rows("train") + image_set.rows("test") == 68


def test_the_reason_names_no_object_of_the_program(two_classes: Path) -> None:
    (two_classes / "dog" / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n123")
    assert "dog/x.png (begins like an image, and is none)" in refusal(two_classes)


def test_where_only_other_files_are_left_another_directory_is_asked_for(tmp_path: Path) -> None:
    for name in ("cat/1.jpg", "cat/1.txt", "dog/1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no image")
    assert refusal(tmp_path).endswith("where there is none: name another directory")


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
def test_a_file_with_the_name_of_an_image_must_be_one(two_classes: Path, content: bytes) -> None:
    (two_classes / "dog" / "x.jpg").write_bytes(content)
    assert "1 image cannot be read: dog/x.jpg (" in refusal(two_classes)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_this_user_may_not_read_is_named(two_classes: Path) -> None:
    (two_classes / "cat" / "0003.png").chmod(0)
    assert "cat/0003.png (Permission denied)" in refusal(two_classes)
    (two_classes / "cat").chmod(0)
    assert "cat: cannot be read (Permission denied)" in refusal(two_classes)
    (two_classes / "cat").chmod(0o700)


def test_equal_images_in_two_classes_are_said(
    two_classes: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(two_classes / "cat" / "0003.png", two_classes / "dog" / "x.png")
    with caplog.at_level(logging.WARNING):
        opened(two_classes)
    said = "equal images in two classes: 1, such as cat/0003.png ('cat') and dog/x.png ('dog')"
    assert said in caplog.text


def test_a_class_of_one_image_cannot_be_cut(two_classes: Path) -> None:
    fill(two_classes / "horse", 1)
    assert re.search(
        "the (train|test) split has no image of class 'horse', which has 1; each image falls on "
        ".*: add images of the class, correct a misspelt name, change the fraction, or choose",
        refusal(two_classes),
    )


def test_an_empty_class_folder_is_refused(two_classes: Path) -> None:
    (two_classes / "horse").mkdir()
    assert "the class 'horse' has no image; expected" in refusal(two_classes)
    (two_classes / "horse" / "1.tiff").write_bytes(b"II*\0")
    assert "has no image (files that are hidden or of other formats: 1); expected" in refusal(
        two_classes
    )


def test_a_class_that_only_test_has_is_refused(split_folders: Path) -> None:
    fill(split_folders / "test" / "horse", 1)
    assert "test has a class folder 'horse', which train has not" in refusal(split_folders)


def test_a_class_that_test_has_not_is_refused(split_folders: Path) -> None:
    fill(split_folders / "train" / "horse", 1)
    assert refusal(split_folders).endswith(
        "the test split has no image of class 'horse', expected each class in train and in test; "
        "add some, or correct a misspelt name"
    )


def test_all_classes_that_test_has_not_are_counted(split_folders: Path) -> None:
    fill(split_folders / "train" / "horse", 1)
    fill(split_folders / "train" / "mule", 1, first=1)
    assert "has no image of class 'horse', nor of 1 more class, expected" in refusal(split_folders)
    fill(split_folders / "train" / "zebra", 1, first=2)
    assert "has no image of class 'horse', nor of 2 more classes, exp" in refusal(split_folders)


def test_all_classes_that_a_cut_leaves_without_test_images_are_counted(tmp_path: Path) -> None:
    fill(tmp_path / "pets" / "cat", 40)
    for number in range(20):  # of one image each, so train or test misses several of them
        fill(tmp_path / "pets" / f"horse {number:02}", 1, first=100 + number)
    assert re.search(
        r"no image of class 'horse \d\d', which has 1, nor of \d+ more classes; each image falls",
        refusal(tmp_path / "pets"),
    )


def test_folders_without_any_image_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").write_text("no image")
    assert "holds no image (files that are hidden or of other formats: 2); expected PNG, JPEG" in (
        refusal(tmp_path)
    )


def test_a_folder_without_class_folders_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    assert "holds no folder, expected one per class, two or more" in refusal(tmp_path)


def test_a_folder_around_the_folder_is_refused_with_the_hint(two_classes: Path) -> None:
    assert f"if the classes are in it, give folder:{two_classes}" in refusal(two_classes.parent)


def test_splits_are_not_taken_for_classes(split_folders: Path) -> None:
    (split_folders / "test").rename(split_folders / "val")
    message = refusal(split_folders)
    assert "holds train, val, expected train and test, or the folders of the classes" in message
    assert f"or give folder:{split_folders}/train" in message


@pytest.mark.parametrize("test", ["Test", "test"])
def test_splits_by_other_names_are_told_theirs(split_folders: Path, test: str) -> None:
    (split_folders / "train").rename(split_folders / "Train")
    (split_folders / "test").rename(split_folders / test)
    message = refusal(split_folders)
    assert "; rename the splits to train and test, or give " in message
    assert message.endswith(f"give folder:{split_folders}/Train, of which a test split is cut")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("folder:", "dataset is 'folder' without a directory, expected folder:DIR"),
        ("folder:/nowhere/at/all", "there is no such directory"),
        (
            f"folder:{__file__}",
            "is a file, expected a directory of class folders; a table is given",
        ),
        (f"folder:/{'e' * 256}", "cannot be read .File name too long|there is no such directory"),
        (f"csv:/{'e' * 256}", "cannot read /e+: File name too long; give another file"),
        (f"csv:{Path(__file__).parent}", "is a directory, expected a table; images in one folder"),
    ],
)
def test_what_is_no_directory_is_refused(text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        open_dataset(text, data_dir=None)


def test_a_file_that_changes_after_it_was_seen_is_refused(two_classes: Path) -> None:
    image_set = opened(two_classes)
    path = two_classes / "cat" / "0000.png"
    for change in (lambda: path.write_bytes(encoded(picture(999))), path.unlink):
        change()
        with pytest.raises(DataError, match="has changed since the run began"):
            images_of(image_set, "train") | images_of(image_set, "test")


def test_files_are_found_by_their_content(two_classes: Path) -> None:
    shutil.copy(two_classes / "cat" / "0000.png", two_classes / "dog" / "again.png")
    image_set = opened(two_classes)
    twice, once = (
        hashlib.sha256((two_classes / name).read_bytes()).hexdigest()
        for name in ("cat/0000.png", "dog/0101.png")
    )
    assert image_set.paths_of([once, twice, "0" * 64]) == {
        twice: ["cat/0000.png (cat)", "dog/again.png (dog)"],
        once: ["dog/0101.png"],
    }


def test_each_row_has_the_hash_of_its_file(two_classes: Path) -> None:
    image_set = opened(two_classes)
    for shard in image_set.shards:
        for rows in read_rows(image_set, shard):
            stored = [hashlib.sha256(image).digest() for image in rows.images]  # as in the file
            assert rows.file_hashes.tobytes() == b"".join(stored)


def test_an_image_that_tensorflow_alone_refuses_is_named(
    two_classes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_reading, "storable", lambda content: content[:40])
    image_set = opened(two_classes)
    with pytest.raises(DataError, match=r"the image in cat/0\d\d\d\.png "):
        list(read_rows(image_set, image_set.shards[0]))


def test_what_has_no_effect_is_no_other_set_and_reads_nothing_again(split_folders: Path) -> None:
    damage([split_folders / "train" / "cat" / "0100.png"])
    data = dataclasses.replace(FITTED, skip_unreadable=1)
    first = opened(split_folders, data)
    for given in ({"skip_unreadable": 9}, {"test_fraction": 0.5}):
        again = opened(split_folders, dataclasses.replace(data, **given))
        assert again.info == first.info
        assert again.shards is first.shards
    assert "1 image cannot be read" in refusal(split_folders, FITTED)


def test_an_opened_set_is_not_read_again_until_a_file_changes(two_classes: Path) -> None:
    first = opened(two_classes)
    assert opened(two_classes).shards is first.shards
    (two_classes / "cat" / "0000.png").write_bytes(encoded(picture(999)))
    assert opened(two_classes).info.fingerprint != first.info.fingerprint


def test_shards_are_bounded_and_complete(tmp_path: Path) -> None:
    content = [encoded(picture(seed)) for seed in range(40)]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(1250):
            path = tmp_path / name / f"{number}.png"
            path.write_bytes(content[number % 20 + 20 * (name == "b")] + bytes([number % 251]))
    image_set = opened(tmp_path)
    shards = image_set.shards_of("train")
    assert [shard.index for shard in shards] == list(range(len(shards)))
    assert max(shard.rows for shard in shards) <= 1000
    labels = [rows.labels for shard in shards for rows in image_set.read(shard)]
    assert sum(map(len, labels)) == image_set.rows("train")
    assert np.all(np.diff(np.concatenate(labels)) >= 0)
