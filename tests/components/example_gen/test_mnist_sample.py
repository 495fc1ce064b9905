import hashlib

import numpy as np
import pytest

from components.example_gen import mnist_sample
from components.example_gen.image_set import ImageSet
from components.example_gen.images import read_arrays
from components.example_gen.sources import open_dataset


@pytest.fixture(scope="module")
def sample() -> ImageSet:
    return open_dataset("mnist_sample", data_dir=None)


@pytest.mark.parametrize(("split", "per_class"), [("train", 400), ("test", 100)])
def test_each_class_gives_400_images_to_train_and_100_to_test(
    sample: ImageSet, split: str, per_class: int
) -> None:
    images, labels = read_arrays(sample, split)
    assert np.bincount(labels).tolist() == [per_class] * 10
    assert images.shape[1:] == sample.info.image_shape == (28, 28, 1)
    assert (images.dtype, images.min(), images.max()) == (np.uint8, 0, 255)


def test_the_fingerprint_is_that_of_the_packages_file(sample: ImageSet) -> None:
    content = mnist_sample._find_file().read_bytes()
    assert sample.info.fingerprint == hashlib.sha256(content).hexdigest()
    assert sample.info.name == "mnist_sample"
