import io

import numpy as np
import pytest
from PIL import Image

from components.data_gate.near_duplicates import NearDuplicateSearch
from components.example_gen.images import read_arrays
from components.example_gen.opening import open_dataset


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Images of train and of test, these in random order."""
    sample = open_dataset("mnist_sample", data_dir=None)
    (train, _), (test, _) = read_arrays(sample, "train"), read_arrays(sample, "test")
    return train, test[np.random.default_rng(0).permutation(len(test))]


def share_found(images: np.ndarray, *among: np.ndarray) -> float:
    search = NearDuplicateSearch(images)
    for others in among:
        search.look_in(others)
    return float(search.found.mean())


def change_one_pixel(images: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(1)
    rows, columns = rng.integers(0, 28, (2, len(images)))
    every = np.arange(len(images))
    changed = images.copy()
    changed[every, rows, columns] = 255 - changed[every, rows, columns]
    return changed


def add_noise(images: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(1).integers(-2, 3, images.shape)
    return np.clip(images + noise, 0, 255).astype(np.uint8)


def compress(images: np.ndarray) -> np.ndarray:
    changed = []
    for image in images[..., 0]:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=90)
        changed.append(np.asarray(Image.open(buffer)))
    return np.stack(changed)[..., np.newaxis]


def test_real_digits_of_train_and_test_are_no_duplicates(digits):
    train, test = digits

    assert share_found(test, train) == 0.0


@pytest.mark.parametrize("change", [np.copy, change_one_pixel, add_noise, compress])
def test_changed_copies_are_found_among_other_images(digits, change):
    train, test = digits

    assert share_found(test, train[:1000], change(test), train[1000:]) >= 0.99


def test_moved_copies_are_not_found(digits):
    train, test = digits

    # What is promised goes no further than docs/data.md says.
    assert share_found(test, train, np.roll(test, 1, axis=2)) < 0.01


@pytest.mark.parametrize("shape", [(6, 5, 1), (32, 32, 3), (40, 64, 3)])
def test_images_of_any_shape_are_searched(shape):
    rng = np.random.default_rng(0)
    images, others = rng.integers(0, 256, (2, 50, *shape), np.uint8)
    copies = images[:20].copy()
    copies[:, 0, 0, 0] ^= 255

    search = NearDuplicateSearch(images)
    search.look_in(np.concatenate([others, copies]))

    np.testing.assert_array_equal(np.flatnonzero(search.found), np.arange(20))


def test_where_all_images_are_alike_only_equal_ones_are_duplicates():
    images = np.full((10, 4, 4, 1), 64, np.uint8)
    other = images.copy()
    other[:, 0, 0] += 1

    assert share_found(images, other) == 0.0
    assert share_found(images, other, images[:1]) == 1.0


def test_each_one_found_knows_the_image_that_it_nearly_is(digits):
    train, test = digits
    search = NearDuplicateSearch(test[:200])
    search.look_in(train[:300])
    search.look_in(change_one_pixel(test[:70])[::-1])
    search.look_in(train[300:])
    assert search.found[:70].all()
    assert search.matches[:70].tolist() == [*range(369, 299, -1)]
    assert (search.matches[70:] == -1).all()
    assert len(search.partners) == 60
    for row, partner in search.partners.items():
        assert np.count_nonzero(partner != test[row]) == 1
