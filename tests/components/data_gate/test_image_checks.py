"""The sample's images as ExampleGen writes them, with training splits that were tampered with."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.data_gate import image_checks as module
from components.data_gate.bounds import DataGateConfig
from components.data_gate.image_checks import image_checks
from components.example_gen.example_facts import hash_images
from components.example_gen.examples_summary import ExamplesSummary, Overlap, SplitSummary
from components.example_gen.images import read_arrays
from components.example_gen.opening import open_dataset
from components.gate.check import NOT_JUDGED, Check
from components.pictures import LABEL_ERRORS, Pictures
from pipeline.dataset_defaults import bounds_for
from tests.components.data_gate.splits import write_split

SPLITS = ("train", "eval", "test")
Arrays = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def digits() -> dict[str, Arrays]:
    """Images and labels by split; a quarter of the sample, in random order."""
    sample = open_dataset("mnist_sample", data_dir=None)
    chosen = {}
    for name in ("train", "test"):
        images, labels = read_arrays(sample, name)
        rows = np.random.default_rng(0).permutation(len(labels))[::4]
        chosen[name] = (images[rows], labels[rows])
    images, labels = chosen["train"]
    return {
        "train": (images[100:], labels[100:]),
        "eval": (images[:100], labels[:100]),
        "test": chosen["test"],
    }


def checks_of(root: Path, splits: dict[str, Arrays], **bounds: Any) -> dict[str, Check]:
    """Checks by name; what overlaps pixel by pixel is not recorded."""
    return {check.name: check for check in looked_at(root, splits, **bounds)[0]}


def looked_at(
    root: Path, splits: dict[str, Arrays], *, within_test: int = 0, **bounds: float
) -> tuple[tuple[Check, ...], Pictures]:
    uris = {name: write_split(root / f"Split-{name}", *arrays) for name, arrays in splits.items()}
    summary = ExamplesSummary(
        name="digits",
        fingerprint="f" * 64,
        image_shape=(28, 28, 1),
        class_names=tuple("0123456789"),
        splits={
            name: SplitSummary(len(labels), tuple(np.bincount(labels)), "d" * 64, 0.1)
            for name, (_, labels) in splits.items()
        },
        overlap=Overlap(0, (), within_test),
    )
    given = bounds_for(DataGateConfig(**bounds), "mnist")
    return image_checks(uris, summary, given)


def change_one_pixel(images: np.ndarray) -> np.ndarray:
    changed = images.copy()
    changed[:, 14, 14] = 255 - changed[:, 14, 14]
    return changed


def test_real_digits_pass(digits, tmp_path):
    checks = checks_of(tmp_path, digits, within_test=2)

    names = ["overlap", "duplicates", "label_noise", "class_label_noise"]
    assert list(checks) == [f"data.{name}" for name in names]
    assert all(check.passed for check in checks.values())
    assert checks["data.duplicates"].actual == 2 / 250
    assert checks["data.overlap"].sentence == (
        "test: 0 of 250 images are also in train or eval, pixel by pixel, and 0 of 250 exactly or "
        "nearly (0.00 %), at most 1.00 % is allowed"
    )
    assert checks["data.label_noise"].sentence.startswith("train and eval: about 0.0")
    assert (
        "% of 1,000 labels look wrong, at most 0.50 % is allowed"
        in checks["data.label_noise"].sentence
    )


@pytest.mark.once  # a count of ExampleGen's
def test_copies_in_test_are_no_further_evidence(digits, tmp_path):
    check = checks_of(tmp_path, digits, within_test=3)["data.duplicates"]  # two pass above
    assert (check.passed, check.actual) == (False, 3 / 250)
    said = "test: 3 of 250 images only repeat another test image, pixel by pixel ("
    assert check.sentence.startswith(said)
    assert "set data_gate.max_test_duplicates" in check.sentence


def test_where_labels_cannot_be_judged_none_is_shown_as_an_error(digits, tmp_path):
    rng = np.random.default_rng(0)
    unlike = {
        name: (rng.integers(0, 256, images.shape, np.uint8), rng.permutation(labels))
        for name, (images, labels) in digits.items()
    }
    checks, shown = looked_at(tmp_path, unlike)
    results = {check.name: check.result for check in checks}
    assert results["data.label_noise"] == results["data.class_label_noise"] == NOT_JUDGED
    assert shown.groups == {}


@pytest.mark.parametrize("split", ["train", pytest.param("eval", marks=pytest.mark.once)])
def test_test_images_with_one_pixel_changed_are_refused(digits, tmp_path, split):
    images, labels = digits[split]
    test_images, test_labels = (values[:50] for values in digits["test"])
    poisoned = {
        split: (
            np.concatenate([images, change_one_pixel(test_images)]),
            np.concatenate([labels, test_labels]),
        )
    }

    check = checks_of(tmp_path, {**digits, **poisoned})["data.overlap"]

    assert (check.passed, check.actual, check.required) == (False, 50 / 250, 0.01)
    assert check.sentence.startswith("test: 0 of 250 images are also in train or eval, pixel by ")
    named = check.sentence.partition("such as ")[2].partition(";")[0].split(", ")
    hashes = hash_images(test_images)
    assert len(named) == 5
    assert set(named) < {image.tobytes().hex()[:12] for image in hashes}


def test_shuffled_labels_are_refused(digits, tmp_path):
    images, labels = digits["train"]
    shuffled = labels.copy()
    shuffled[:90] = np.random.default_rng(0).permutation(labels[:90])

    check = checks_of(tmp_path, {**digits, "train": (images, shuffled)})["data.label_noise"]

    assert not check.passed
    assert check.actual == pytest.approx(0.08, abs=0.04)
    assert check.sentence.endswith("shows to be wrong, or set data_gate.max_label_noise")


def test_the_likeliest_label_errors_are_shown(digits, tmp_path):
    images, labels = digits["train"]
    wrong = np.arange(0, 60, 2)
    changed = labels.copy()
    changed[wrong] = (labels[wrong] + 1) % 10

    _, shown = looked_at(tmp_path, {**digits, "train": (images, changed)})

    assert shown.examined == 1000  # train and eval
    hashes = hash_images(images[wrong])
    expected = {
        image.tobytes().hex(): (str(given), str(true))
        for image, given, true in zip(hashes, changed[wrong], labels[wrong], strict=True)
    }
    first = shown.groups[LABEL_ERRORS][:20]
    found = [one for one in first if (one.label, one.looks_like) == expected.get(one.sha256)]
    assert len(found) >= 12  # 14; the others are hard images of 1,000
    assert all(one.files == (one.sha256,) for one in first)
    assert [one.margin for one in first] == sorted((one.margin for one in first), reverse=True)


@pytest.mark.once
def test_bounds_let_the_same_data_pass(digits, tmp_path):
    images, labels = digits["train"]
    test_images, test_labels = digits["test"]
    poisoned = (
        np.concatenate([images, change_one_pixel(test_images)]),
        np.concatenate([labels, np.random.default_rng(0).permutation(test_labels)]),
    )

    checks = checks_of(
        tmp_path, {**digits, "train": poisoned}, max_train_test_overlap=1.0, max_label_noise=1.0
    )

    assert all(check.passed for check in checks.values())
    assert checks["data.overlap"].actual == 1.0


@pytest.mark.once
def test_of_large_splits_some_rows_are_looked_at(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_MAX_TEST_BYTES", 100 * 28 * 28)
    monkeypatch.setattr(module, "MAX_ROWS", 300)
    images, labels = digits["train"]
    test_images, test_labels = digits["test"]
    leaked = (np.concatenate([images, test_images]), np.concatenate([labels, test_labels]))

    checks = checks_of(tmp_path, {**digits, "train": leaked})

    # Every third of 250 test images, and every fifth of 900 + 250 in train and of 100 in eval.
    assert "84 of 84 exactly or nearly (100.00 %)" in checks["data.overlap"].sentence
    assert " of 250 labels look wrong" in checks["data.label_noise"].sentence


def test_near_duplicates_are_shown_beside_the_images_that_they_are(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_MAX_TEST_ROWS", 84)
    monkeypatch.setattr("components.example_gen.images.BATCH_ROWS", 20)  # no multiple of three
    images, labels = digits["train"]
    test_images, test_labels = (values[10:40] for values in digits["test"])
    others = np.where(np.arange(30) % 2, (test_labels + 1) % 10, test_labels)
    poisoned = {
        **digits,
        "train": (
            np.concatenate([images, change_one_pixel(test_images)]),
            np.concatenate([labels, others]),
        ),
    }
    _, shown = looked_at(tmp_path, poisoned)
    pairs = shown.groups["near_duplicates"]
    # They are written as rows 5 to 19 and 130 to 144, and every third row was looked for.
    assert sorted(pair.row for pair in pairs) == [*range(6, 20, 3), *range(132, 145, 3)]
    twins = hash_images(change_one_pixel(test_images))
    own = hash_images(test_images)
    files = {
        one.tobytes().hex(): twin.tobytes().hex() for one, twin in zip(own, twins, strict=True)
    }
    for pair in pairs:
        assert pair.files == (pair.sha256, files[pair.sha256])
        other = "" if pair.row < 125 else str((int(pair.label) + 1) % 10)  # even rows, then odd
        assert (pair.split, pair.looks_like) == ("test", other)
        with Image.open(io.BytesIO(base64.b64decode(pair.png))) as picture:
            assert picture.size == (56, 28)
    monkeypatch.setattr("components.data_gate.near_duplicates.DRAWN", 3)
    _, again = looked_at(tmp_path / "again", poisoned)
    named = again.groups["near_duplicates"]
    assert [bool(pair.png) for pair in named] == [True] * 3 + [False] * (len(pairs) - 3)
    assert {pair.files for pair in named} == {pair.files for pair in pairs}
