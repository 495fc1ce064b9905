import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.example_gen.example_facts import (
    digest_of,
    eval_size,
    facts_of,
    hash_examples,
    hash_images,
    image_names,
    quotas_of,
    region_means,
    smallest_rows,
)


def test_hashes_are_over_label_shape_and_pixels() -> None:
    pixels = np.arange(36, dtype=np.uint8).reshape(3, 2, 3, 2)
    labels = np.array([7, 0, 300])
    images, examples = hash_images(pixels), hash_examples(pixels, labels)
    assert image_names(pixels) == [one.tobytes().hex() for one in images]
    for row, label in enumerate(labels):
        content = struct.pack("<qqq", 2, 3, 2) + bytes(range(12 * row, 12 * row + 12))
        assert images[row].tobytes() == hashlib.sha256(content).digest()
        whole = struct.pack("<q", label) + content
        assert examples[row].tobytes() == hashlib.sha256(whole).digest()


def test_the_same_pixels_in_another_shape_are_another_image() -> None:
    pixels = np.zeros(12, np.uint8)
    first = hash_images(pixels.reshape(1, 2, 6, 1))
    second = hash_images(pixels.reshape(1, 6, 2, 1))
    assert first.tobytes() != second.tobytes()


def random_examples(rows: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(rows)
    labels = rng.integers(0, classes, rows)
    return labels, rng.integers(0, 256, (rows, 32), np.uint8)


def test_the_digest_is_over_the_sorted_hashes() -> None:
    _, hashes = random_examples(20, 2)
    expected = hashlib.sha256(b"".join(sorted(row.tobytes() for row in hashes))).hexdigest()
    assert digest_of(hashes) == digest_of(hashes[::-1]) == expected


@pytest.mark.parametrize(
    ("train_rows", "size"),
    [
        (60_000, 5_000),  # 60,000 / 8 = 7,500, more than the 5,000 allowed
        (40_000, 5_000),  # 40,000 / 8
        (4_000, 500),  # the sample: 4,000 / 8
        (7, 0),
    ],
)
def test_an_eighth_of_train_becomes_eval_and_5000_at_most(train_rows: int, size: int) -> None:
    assert eval_size(train_rows) == size


@pytest.mark.parametrize(
    ("counts", "quotas"),
    [
        ([400] * 10, [50] * 10),
        ([5, 3], [1, 0]),  # one row; 5/8 and 3/8: the larger remainder is the first
        ([3, 5], [0, 1]),
        ([40, 30, 10], [5, 4, 1]),  # ten rows; 5, 3.75 and 1.25
        ([20, 20, 0], [3, 2, 0]),  # five rows; 2.5 each: the lower label
        ([1, 1], [0, 0]),  # too few for an eval split
    ],
)
def test_quotas_follow_the_largest_remainder(counts: list[int], quotas: list[int]) -> None:
    assert quotas_of(np.array(counts), eval_size(sum(counts))).tolist() == quotas


def eval_rows(labels: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    return smallest_rows(labels, hashes, quotas_of(np.bincount(labels), eval_size(len(labels))))


def test_eval_takes_the_rows_of_each_class_with_the_smallest_hash() -> None:
    labels, hashes = random_examples(400, 3)
    chosen = set(eval_rows(labels, hashes))
    for label, quota in enumerate(quotas_of(np.bincount(labels), eval_size(400))):
        rows = [row for row in range(400) if labels[row] == label]
        smallest = sorted(rows, key=lambda row: hashes[row].tobytes())[:quota]
        assert chosen & set(rows) == set(smallest)


@given(st.integers(0, 300), st.integers(1, 9), st.randoms(use_true_random=False))
def test_the_cut_does_not_depend_on_the_order(rows: int, classes: int, random) -> None:  # type: ignore[no-untyped-def]
    labels, hashes = random_examples(rows, classes)
    order = list(range(rows))
    random.shuffle(order)
    chosen = eval_rows(labels, hashes)
    assert len(chosen) == eval_size(rows)
    shuffled = eval_rows(labels[order], hashes[order])
    assert sorted(np.array(order, int)[shuffled]) == list(chosen)


def test_duplicates_at_the_edge_do_not_change_the_number_of_rows() -> None:
    labels, hashes = np.zeros(16, int), np.zeros((16, 32), np.uint8)
    assert len(eval_rows(labels, hashes)) == 2  # 16 / 8


@pytest.mark.parametrize("shape", [(28, 28, 1), (9, 13, 3), (600, 700, 3)])
def test_a_region_is_a_cell_of_a_grid_of_four_by_four(shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, *shape), np.uint8)
    found = region_means(pixels)
    rows, columns = (-(-np.arange(5) * side // 4) for side in shape[:2])
    for region in range(16):
        row, column = divmod(region, 4)
        cell = pixels[:, rows[row] : rows[row + 1], columns[column] : columns[column + 1]]
        assert (found[:, region] == cell.mean(axis=(1, 2, 3)).astype(int)).all()


def test_a_region_without_pixels_is_black() -> None:
    bright = np.full((1, 2, 3, 1), 200, np.uint8)
    assert region_means(bright).reshape(4, 4).tolist() == [
        [200, 200, 200, 0],
        [0] * 4,
        [200, 200, 200, 0],
        [0] * 4,
    ]


def test_the_facts_of_images_are_those_of_their_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), np.uint8)
    pixels[3] = pixels[3, ..., :1]  # without colour
    pixels[4, :3], pixels[4, 3:] = 0, 255  # half black, half white: as much contrast as can be
    labels = np.array([3, 1, 4, 1, 5])
    facts = facts_of(pixels, labels)
    assert facts["contrast"].tolist() == [*map(int, 2 * pixels[:4].std(axis=(1, 2, 3))), 255]
    assert facts["grey"].tolist() == [False, False, False, True, True]
    assert facts["pixel_sum"].tolist() == [int(image.sum()) for image in pixels]
    assert facts["label"].tolist() == labels.tolist()
    assert {*zip(facts["height"].tolist(), facts["width"].tolist(), strict=True)} == {(6, 7)}
    assert (facts["regions"] == region_means(pixels)).all()
    images, examples = hash_images(pixels), hash_examples(pixels, labels)
    assert (facts["image_hash"] == images).all()
    assert (facts["example_hash"] == examples).all()


def test_the_size_of_an_image_is_that_which_is_stored() -> None:
    facts = facts_of(np.zeros((2, 4, 4, 1), np.uint8), np.zeros(2, int), np.array([[9, 8, 3]] * 2))
    assert facts[["height", "width"]].tolist() == [(9, 8)] * 2
