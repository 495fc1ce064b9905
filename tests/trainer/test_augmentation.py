import numpy as np
import pytest
import tensorflow as tf

from trainer.augmentation import augmentation, shift, warp
from trainer.hparams import HParams

# Each pixel has a value of its own: 77 per image, 11 per row, 1 per column.
NUMBERED = tf.reshape(tf.range(2 * 7 * 11, dtype=tf.float32), [2, 7, 11, 1])


def spot(y: int, x: int) -> np.ndarray:
    """[1, 9, 9, 1], black but for one pixel."""
    image = np.zeros([1, 9, 9, 1], np.float32)
    image[0, y, x, 0] = 1.0
    return image


def brightest(images: tf.Tensor) -> list[tuple[int, int]]:
    return [np.unravel_index(np.argmax(image), image.shape)[:2] for image in images.numpy()]


def test_shift_moves_each_image_by_its_own_offset_of_whole_pixels():
    offsets = []
    for seed in range(60):
        moved = shift(NUMBERED, tf.constant([0, seed]), max_shift=2).numpy()
        # The centre tells the offset; + 2 keeps what divmod sees positive.
        by = [
            divmod(int(moved[i, 3, 5, 0] - NUMBERED[i, 3, 5, 0]) + 2 * 11 + 2, 11) for i in (0, 1)
        ]
        offsets.append([(dy - 2, dx - 2) for dy, dx in by])
    each = {offset for pair in offsets for offset in pair}
    assert {dy for dy, _ in each} == {dx for _, dx in each} == {-2, -1, 0, 1, 2}
    assert any(first != second for first, second in offsets)


def test_shift_mirrors_the_edge_into_the_gap():
    for seed in range(10):
        moved = shift(NUMBERED, tf.constant([0, seed]), max_shift=2).numpy()[0, :, :, 0]
        dy, dx = np.array(divmod(int(moved[3, 5] - NUMBERED[0, 3, 5, 0]) + 24, 11)) - 2
        padded = np.pad(NUMBERED.numpy()[0, :, :, 0], 2, mode="reflect")
        np.testing.assert_array_equal(moved, padded[2 + dy : 9 + dy, 2 + dx : 13 + dx])


def test_warp_without_anything_to_do_changes_nothing():
    warped = warp(NUMBERED, tf.constant([0, 1]), max_shift=0, max_rotation=0.0, max_zoom=0.0)
    np.testing.assert_allclose(warped, NUMBERED, atol=1e-4)


def test_warp_turns_about_the_centre_either_way():
    right = tf.constant(np.repeat(spot(4, 7), 50, axis=0))  # 3 pixels right of the centre
    warped = warp(right, tf.constant([0, 1]), max_shift=0, max_rotation=90.0, max_zoom=0.0)
    places = brightest(warped)
    assert all(2.0 <= np.hypot(y - 4, x - 4) <= 4.0 for y, x in places)
    assert min(y for y, _ in places) <= 2  # turned to above the centre
    assert max(y for y, _ in places) >= 6  # and to below


def test_warp_zooms_in_and_out():
    right = tf.constant(np.repeat(spot(4, 7), 50, axis=0))
    warped = warp(right, tf.constant([0, 1]), max_shift=0, max_rotation=0.0, max_zoom=0.5)
    distances = {x - 4 for y, x in brightest(warped) if y == 4}
    assert min(distances) == 2  # 3 * 0.5 = 1.5
    assert max(distances) == 4  # 3 * 1.5 = 4.5 is outside


def test_warp_moves_by_at_most_max_shift_in_the_direction_that_it_draws():
    middle = tf.constant(np.repeat(spot(4, 4), 200, axis=0))
    warped = warp(middle, tf.constant([0, 1]), max_shift=2, max_rotation=0.0, max_zoom=0.0)
    places = brightest(warped)
    assert {y - 4 for y, _ in places} == {x - 4 for _, x in places} == {-2, -1, 0, 1, 2}


def test_warp_repeats_the_edge_in_the_gap():
    grey = tf.fill([4, 8, 8, 1], 3.0)
    warped = warp(grey, tf.constant([0, 1]), max_shift=3, max_rotation=45.0, max_zoom=0.5)
    np.testing.assert_allclose(warped, grey, rtol=1e-6)


@pytest.mark.parametrize(
    "hparams",
    [HParams(max_shift=1), HParams(max_shift=1, max_rotation=10.0, max_zoom=0.1)],
    ids=["shift", "warp"],
)
def test_same_seed_same_images_and_another_seed_others(hparams):
    augment = augmentation(hparams)
    first, again, other = (augment(NUMBERED, tf.constant([5, step])) for step in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_nothing_asked_for_is_nothing_done():
    images = augmentation(HParams(max_shift=0))(NUMBERED, tf.constant([0, 1]))
    np.testing.assert_array_equal(images, NUMBERED)
