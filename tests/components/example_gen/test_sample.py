import numpy as np

from components.example_gen import sample


def test_each_class_gives_400_images_to_train_and_100_to_test() -> None:
    splits = sample.read().splits
    assert np.bincount(splits["train"].labels).tolist() == [400] * 10
    assert np.bincount(splits["test"].labels).tolist() == [100] * 10


def test_images_are_28_by_28_grey_over_the_whole_range() -> None:
    arrays = sample.read()
    assert arrays.image_shape == (28, 28, 1)
    images = arrays.splits["train"].images
    assert (images.dtype, images.min(), images.max()) == (np.uint8, 0, 255)


def test_the_fingerprint_is_that_of_the_packages_file() -> None:
    arrays = sample.read()
    assert arrays.fingerprint == sample.fingerprint()
    assert arrays.name == "mnist_sample"
