import numpy as np

from components.data_gate.block_means import block_means


def test_each_channel_has_the_mean_of_each_block():
    image = np.zeros((4, 4, 2), np.uint8)
    image[:2, 2:, 1] = [[255, 0], [0, 255]]

    means = block_means(image[np.newaxis], max_side=2)

    # Two rows of two blocks of two channels: half of one block is white in the second channel.
    np.testing.assert_array_equal(means, [[0, 0, 0, 0.5, 0, 0, 0, 0]])


def test_blocks_that_do_not_fit_are_filled_with_black():
    means = block_means(np.full((1, 3, 5, 1), 255, np.uint8), max_side=3)

    # Blocks of 2 pixels: 2 rows and 3 columns of them; the last ones hold a half or a quarter.
    np.testing.assert_allclose(means, [[1, 1, 0.5, 0.5, 0.5, 0.25]])


def test_small_images_are_left_as_they_are():
    images = np.arange(12, dtype=np.uint8).reshape(2, 2, 3, 1)

    np.testing.assert_allclose(block_means(images, max_side=16) * 255, images.reshape(2, 6))
