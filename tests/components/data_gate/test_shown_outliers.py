"""Pictures of examples for which a check of the data failed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.data_gate import shown_outliers as module
from components.data_gate.bounds import DataGateConfig
from components.data_gate.shown_outliers import shown_outliers
from components.example_gen.example_facts import hash_images
from components.example_gen.examples_summary import ExamplesSummary, Overlap, SplitSummary
from components.pictures import DRAWN, Picture
from pipeline.dataset_defaults import bounds_for
from tests.components.data_gate.splits import write_split

SHAPE = (4, 4, 3)
MEDIAN = (40, 30)
BOUNDS = DataGateConfig(min_mean_intensity=0.1, max_mean_intensity=0.9, max_size_factor=2.0)


class Splits:
    """Coloured images of middle intensity, 30 a split, all different, stored as 40 x 30."""

    def __init__(self, rows: int = 30) -> None:
        rng = np.random.default_rng(0)
        names = ("train", "eval", "test")
        self.images = {name: rng.integers(90, 160, (rows, *SHAPE), np.uint8) for name in names}
        self.sizes = {name: np.full((rows, 3), (*MEDIAN, 3)) for name in names}

    def grey(self, split: str) -> int:
        images = self.images[split]
        return int((images == images[..., :1]).all(axis=(1, 2, 3)).sum())

    def written(self, root: Path) -> dict[str, str]:
        return {
            name: write_split(
                root / f"Split-{name}", images, np.arange(len(images)) % 2, self.sizes[name]
            )
            for name, images in self.images.items()
        }

    def shown(self, root: Path, *failed: str) -> dict[str, tuple[Picture, ...]]:
        return self.shown_of(self.written(root), *failed)

    def shown_of(self, uris: Mapping[str, str], *failed: str) -> dict[str, tuple[Picture, ...]]:
        summary = ExamplesSummary(
            name="pets",
            fingerprint="f" * 64,
            image_shape=SHAPE,
            class_names=("cat", "dog"),
            splits={
                name: SplitSummary(30, (15, 15), "d" * 64, 0.5, grey=self.grey(name))
                for name in uris
            },
            overlap=Overlap(0, ()),
            resize="pad",
        )
        return shown_outliers(set(failed), uris, summary, bounds_for(BOUNDS, "pets"), MEDIAN)

    def hash_of(self, split: str, row: int) -> str:
        hashes = hash_images(self.images[split][[row]])
        return hashes.tobytes().hex()


def test_those_furthest_beyond_the_intensity_come_first(tmp_path: Path) -> None:
    splits = Splits()
    splits.images["train"][[3, 8, 11]] = np.array([20, 5, 240], np.uint8).reshape(3, 1, 1, 1)
    splits.images["test"][4] = 0  # of which nothing failed
    (shown,) = splits.shown(tmp_path, "data.train.mean_intensity").values()
    expected = [splits.hash_of("train", row) for row in (8, 11, 3)]  # 0.08, 0.04, 0.02 beyond
    assert [one.sha256 for one in shown] == expected
    assert [one.files for one in shown] == [(each,) for each in expected]
    assert [(one.split, one.label, one.looks_like) for one in shown] == [
        ("train", "cat", ""),
        ("train", "dog", ""),
        ("train", "dog", ""),
    ]


def test_sizes_are_compared_along_a_side_in_all_splits(tmp_path: Path) -> None:
    splits = Splits()
    splits.sizes["eval"][5] = (10, 7, 3)  # 4.1 times smaller
    splits.sizes["test"][6] = (40, 121, 3)  # 2.01 times larger
    splits.sizes["test"][7] = (80, 60, 3)  # twice, which is allowed
    (shown,) = splits.shown(tmp_path, "data.sizes").values()
    expected = [("eval", splits.hash_of("eval", 5)), ("test", splits.hash_of("test", 6))]
    assert [(one.split, one.sha256) for one in shown] == expected


def drawn(shown: Sequence[Picture]) -> list[bool]:
    return [bool(one.png) for one in shown]


def test_all_are_named_and_as_many_drawn_as_people_look_at(tmp_path: Path) -> None:
    splits = Splits()
    for images in splits.images.values():
        images[:25] = images[:25, :, :, :1]
    (shown,) = splits.shown(tmp_path, "data.grey").values()
    grey = {splits.hash_of(name, row) for name in splits.images for row in range(25)}
    assert {one.sha256 for one in shown} == grey
    assert drawn(shown) == [True] * DRAWN + [False] * (75 - DRAWN)
    assert all(one.files == (one.sha256,) for one in shown)  # which are equal here


def test_the_names_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NAMED", DRAWN + 1)
    splits = Splits(rows=2 * DRAWN)
    splits.images["test"][:] = 20
    splits.images["test"][-1] = 0
    found = splits.shown(tmp_path, "data.test.mean_intensity")["data.test.mean_intensity"]
    assert drawn(found) == [True] * DRAWN + [False]
    assert found[0].sha256 == splits.hash_of("test", -1)


def test_of_a_batch_with_too_many_the_furthest_are_drawn(tmp_path: Path) -> None:
    splits = Splits(rows=DRAWN + 10)
    splits.images["test"][:] = 20
    splits.images["test"][-5:] = 0
    (shown,) = splits.shown(tmp_path, "data.test.mean_intensity").values()
    assert [one.sha256 for one in shown] == [
        *[splits.hash_of("test", -1)] * 5,
        *[splits.hash_of("test", 0)] * (DRAWN + 5),
    ]
    assert drawn(shown) == [True] * DRAWN + [False] * 10


def test_grey_images_are_those_of_the_splits_with_too_many(tmp_path: Path) -> None:
    splits = Splits()
    splits.images["train"][:3] = splits.images["train"][:3, :, :, :1]  # 10 %, which is allowed
    splits.images["test"][:4] = splits.images["test"][:4, :, :, :1]
    (shown,) = splits.shown(tmp_path, "data.grey").values()
    assert {one.sha256 for one in shown} == {splits.hash_of("test", row) for row in range(4)}


def test_copies_stand_once_with_all_their_files(tmp_path: Path) -> None:
    splits = Splits()
    splits.images["test"][[7, 20]] = splits.images["test"][2]
    splits.images["test"][10] = splits.images["test"][1]  # which has another label
    shown = splits.shown(tmp_path, "data.duplicates")["data.duplicates"]
    expected = {splits.hash_of("test", row) for row in (1, 2)}
    assert {one.sha256 for one in shown} == expected
    assert {one.files for one in shown} == {(each,) for each in expected}  # which are equal here


def test_all_copies_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = Splits(rows=2 * DRAWN + 4)
    splits.images["test"][DRAWN + 2 :] = splits.images["test"][: DRAWN + 2]
    uris = splits.written(tmp_path)
    (shown,) = splits.shown_of(uris, "data.duplicates").values()
    assert drawn(shown) == [True] * DRAWN + [False] * 2
    assert {one.sha256 for one in shown} == {
        splits.hash_of("test", row) for row in range(DRAWN + 2)
    }
    monkeypatch.setattr(module, "NAMED", DRAWN + 1)
    (shown,) = splits.shown_of(uris, "data.duplicates").values()
    assert drawn(shown) == [True] * DRAWN + [False]


@pytest.mark.parametrize("failed", ["data.label_noise", "data.train.rows"])
def test_a_check_that_blames_no_example_shows_none(failed: str, tmp_path: Path) -> None:
    assert Splits().shown(tmp_path, failed) == {}


def test_what_cannot_be_read_is_not_shown(tmp_path: Path) -> None:
    splits = Splits()
    uris = splits.written(tmp_path)
    with tf.io.TFRecordWriter(f"{uris['eval']}/0", "GZIP") as writer:
        writer.write(b"")  # an example without features
    assert splits.shown_of(uris, "data.eval.mean_intensity") == {}
