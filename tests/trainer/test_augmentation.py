import itertools

import numpy as np
import pytest
import tensorflow as tf

from trainer.augmentation import flip, jitter, make_augmentation, shift, warp
from trainer.hparams import HParams

# Each pixel has a value of its own: 77 per image, 11 per row, 1 per column.
NUMBERED = tf.reshape(tf.range(2 * 7 * 11, dtype=tf.float32), [2, 7, 11, 1])


def brightest(images: tf.Tensor) -> list[tuple[int, int]]:
    return [np.unravel_index(np.argmax(image), image.shape)[:2] for image in images.numpy()]


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64])
def test_shift_moves_each_image_by_its_own_offset_and_mirrors_the_edge_into_the_gap(dtype):
    for dy, dx in itertools.product(range(-2, 3), repeat=2):
        moved = shift(NUMBERED, tf.constant([[dy, dx], [0, -dx]], dtype)).numpy()
        for image, before, (down, right) in zip(
            moved, NUMBERED.numpy(), ((dy, dx), (0, -dx)), strict=True
        ):
            padded = np.pad(before, ((2, 2), (2, 2), (0, 0)), mode="reflect")
            expected = padded[2 + down : 9 + down, 2 + right : 13 + right]
            np.testing.assert_array_equal(image, expected)


def test_shifts_are_drawn_for_each_image_and_axis_up_to_max_shift():
    draws = make_augmentation(HParams(max_shift=2)).draw(300, tf.constant([0, 1])).numpy()
    assert draws.shape == (300, 2)
    # All 25 pairs: 300 draws miss one of them with a probability of 25 * (24/25)^300 = 1e-4.
    assert {tuple(pair) for pair in draws.tolist()} == {*itertools.product(range(-2, 3), repeat=2)}


def draws_of_warps(images: int) -> tf.Tensor:
    return make_augmentation(HParams(max_rotation=1.0)).draw(images, tf.constant([0, 1]))


def test_warp_without_anything_to_do_changes_nothing():
    warped = warp(NUMBERED, draws_of_warps(2), max_shift=0, max_rotation=0.0, max_zoom=0.0)
    np.testing.assert_allclose(warped, NUMBERED, atol=1e-4)


def test_warp_turns_zooms_and_moves_about_the_centre_as_it_draws():
    image = np.zeros([11, 15, 1], np.float32)
    image[5, 10] = 1.0  # 3 pixels right of the centre
    images, draws = tf.constant(np.stack([image] * 50)), draws_of_warps(50)
    warped = warp(images, draws, max_shift=1, max_rotation=90.0, max_zoom=0.3)
    angle, zoom, dy, dx = draws.numpy().T
    assert -1.0 <= np.min(draws) < -0.9 < 0.9 < np.max(draws) <= 1.0
    angle, distance = angle * np.pi / 2, 3 * (1 + 0.3 * zoom)
    places = [5 + dy - distance * np.sin(angle), 7 + dx + distance * np.cos(angle)]
    np.testing.assert_allclose(brightest(warped), np.transpose(places), rtol=0.0, atol=0.7)


def test_warp_repeats_the_edge_in_the_gap():
    grey = tf.fill([4, 8, 8, 1], 3.0)
    warped = warp(grey, draws_of_warps(4), max_shift=3, max_rotation=45.0, max_zoom=0.5)
    np.testing.assert_allclose(warped, grey, rtol=1e-6)


def augmented(hparams: HParams, *, seed: list[int]) -> tf.Tensor:
    augmentation = make_augmentation(hparams)
    return augmentation.apply(NUMBERED, augmentation.draw(2, tf.constant(seed)))


@pytest.mark.parametrize(
    "hparams",
    [
        HParams(max_shift=1),
        HParams(max_shift=0, max_rotation=10.0),
        HParams(max_shift=0, max_zoom=0.1),
    ],
    ids=["shift", "rotation", "zoom"],
)
def test_same_seed_same_images_and_another_seed_others(hparams):
    first, again, other = (augmented(hparams, seed=[5, step]) for step in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_nothing_asked_for_is_nothing_done():
    np.testing.assert_array_equal(augmented(HParams(max_shift=0), seed=[0, 1]), NUMBERED)


COLOURED = tf.constant(np.random.default_rng(0).normal(size=(300, 5, 4, 3)), tf.float32)
ALL = HParams(max_shift=2, horizontal_flip=True, color_jitter=0.2)


def drawn(hparams: HParams, seed: tuple[int, int] = (0, 1)) -> np.ndarray:
    return make_augmentation(hparams).draw(300, tf.constant(seed, tf.int64)).numpy()


def test_a_flip_mirrors_left_and_right_and_half_of_the_images_are_flipped():
    draws = drawn(HParams(max_shift=0, horizontal_flip=True))
    flipped = flip(COLOURED, tf.constant(draws)).numpy()
    for image, before, draw in zip(flipped, COLOURED.numpy(), draws[:, 0], strict=True):
        np.testing.assert_array_equal(image, before[:, ::-1] if draw > 0 else before)
    assert 110 < np.sum(draws > 0) < 190  # 150, with a standard deviation of 8.7


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        ((0.5, 0.0, 0.0), lambda x: x + 0.2),
        ((0.0, -0.5, 0.0), lambda x: 0.8 * x + 0.2 * x.mean((1, 2), keepdims=True)),
        ((0.0, 0.0, 1.0), lambda x: 1.4 * x - 0.4 * x.mean(3, keepdims=True)),
    ],
    ids=["brightness", "contrast", "saturation"],
)
def test_jitter_changes_one_thing_for_each_draw(draw, expected):
    changed = jitter(COLOURED, tf.constant([draw] * 300), strength=0.4)
    np.testing.assert_allclose(changed, expected(COLOURED.numpy()), atol=1e-5)


def test_jitter_without_anything_to_do_changes_nothing():
    np.testing.assert_allclose(
        jitter(COLOURED, tf.zeros([300, 3]), strength=0.4), COLOURED, atol=1e-6
    )


def test_a_flip_and_jitter_leave_the_draws_of_the_shifts_as_they_are():
    alone, together = drawn(HParams(max_shift=2)), drawn(ALL)
    assert (alone.shape, together.shape) == ((300, 2), (300, 2 + 1 + 3))
    np.testing.assert_array_equal(together[:, :2], alone)
    flips = drawn(HParams(max_shift=0, horizontal_flip=True))
    assert not np.array_equal(together[:, 2:3], flips)  # of seeds of their own
    assert not np.array_equal(together[:, 2], np.ravel(together[:100, 3:]))


def test_a_share_of_the_draws_makes_a_share_of_the_images():
    augmentation, draws = make_augmentation(ALL), tf.constant(drawn(ALL))
    whole = augmentation.apply(COLOURED, draws)
    np.testing.assert_array_equal(augmentation.apply(COLOURED[100:], draws[100:]), whole[100:])
