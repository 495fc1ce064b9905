import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from tests.trainer.samples import SPEC, png
from tests.trainer.transforms import normalized, write_image_transform
from trainer import inputs
from trainer.image_graph import decode_png
from trainer.preprocessing import preprocessing_fn


@pytest.fixture(scope="module")
def train(prepared):
    return inputs.SplitReader(
        [prepared.train_files], tft.TFTransformOutput(prepared.transform_output), SPEC
    ).load()


def test_each_channel_has_zero_mean_and_unit_variance_on_train(train):
    channels = train.normalized(train.images).numpy().reshape(-1, 3)
    np.testing.assert_allclose(channels.mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(channels.std(axis=0), 1.0, atol=1e-5)


def test_normalizes_by_the_training_split_and_not_by_the_batch(prepared):
    intensity = prepared.train_pixels / 255.0
    mean, std = intensity.mean(axis=(0, 1, 2)), intensity.std(axis=(0, 1, 2))
    image = prepared.eval_pixels[0]
    (transformed,) = normalized(prepared.transform_output, [png(image)])
    np.testing.assert_allclose(transformed, (image / 255.0 - mean) / std, atol=1e-4)


def test_the_normalization_is_the_same_to_the_bit_in_whatever_order_the_images_come(
    prepared, tmp_path
):
    """Beam gives the analyzers batches as they come; a sum of floats depends on their order."""
    pixels, labels = prepared.train_pixels, prepared.train_labels
    images = [png(image) for image in pixels[:8]]
    expected = normalized(prepared.transform_output, images)
    for seed in range(2):
        order = np.random.default_rng(seed).permutation(len(pixels))
        other = write_image_transform(tmp_path / str(seed), pixels[order], labels[order])
        np.testing.assert_array_equal(normalized(other, images), expected)


def test_label_is_one_hot(prepared, train):
    np.testing.assert_array_equal(train.labels, np.eye(SPEC.num_classes)[prepared.train_labels])


def test_decode_keeps_every_pixel(prepared):
    encoded = tf.constant([png(image) for image in prepared.eval_pixels])
    np.testing.assert_array_equal(decode_png(encoded, SPEC.image_shape), prepared.eval_pixels)


@pytest.mark.parametrize(
    "broken",
    [b"no image", png(np.zeros((9, 10, 3), np.uint8))],
    ids=["not a PNG", "another height"],
)
def test_decode_refuses(broken):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_png(tf.constant([broken]), SPEC.image_shape)


def test_a_transform_without_the_spec_says_what_it_lacks():
    with pytest.raises(ValueError, match="custom_config lacks spec, expected"):
        preprocessing_fn({}, {})
