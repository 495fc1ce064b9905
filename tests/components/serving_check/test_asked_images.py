import numpy as np
import pytest
import tensorflow as tf

from components.serving_check.asked_images import not_png, other_size, read_sample
from tests.trainer.samples import SPEC, png
from trainer import features


def feature_of(example: bytes, name: str) -> tf.train.Feature:
    return tf.train.Example.FromString(example).features.feature[name]


def test_it_holds_each_predicted_image_with_its_label_and_prediction(
    prepared, split_uri, predictions
):
    wanted = dict(list(predictions.items())[3:10])
    sample = read_sample(split_uri, wanted, SPEC)
    np.testing.assert_array_equal(sample.pixels, prepared.eval_pixels[3:10])
    np.testing.assert_array_equal(sample.labels, prepared.eval_labels[3:10])
    labels = [feature_of(one, features.LABEL).int64_list.value[0] for one in sample.examples]
    np.testing.assert_array_equal(sample.labels, labels)
    np.testing.assert_array_equal(sample.probabilities, list(wanted.values()))


def test_each_signature_gets_the_same_images(prepared, sample):
    rows = np.array([5, 1])
    encoded = [png(prepared.eval_pixels[row]) for row in (5, 1)]
    assert list(sample.inputs(features.SERVING_DEFAULT, rows)["image_bytes"]) == encoded
    for signature in (features.SERVING_EXAMPLES, features.TRANSFORM_FEATURES):
        examples = sample.inputs(signature, rows)["examples"]
        for example, image in zip(examples, encoded, strict=True):
            assert feature_of(example, features.IMAGE).bytes_list.value[0] == image
    np.testing.assert_array_equal(
        sample.inputs(features.PREDICT_PIXELS, rows)["pixels"], prepared.eval_pixels[[5, 1]]
    )


@pytest.mark.parametrize("predicted", [{}, {"0" * 64: np.ones(4)}], ids=["none", "another"])
def test_other_examples_than_the_evaluated_ones_are_an_error(split_uri, predicted):
    with pytest.raises(ValueError, match=r"holds 0 of the \d images .* other examples"):
        read_sample(split_uri, predicted, SPEC)


def test_bad_requests_are_bad_in_one_way_only():
    (image,) = other_size(SPEC)[features.SERVING_DEFAULT]["image_bytes"]
    (pixels,) = other_size(SPEC)[features.PREDICT_PIXELS]["pixels"]
    np.testing.assert_array_equal(tf.io.decode_png(image), pixels)
    assert pixels.shape == (13, 11, 3)
    (example,) = other_size(SPEC)[features.SERVING_EXAMPLES]["examples"]
    assert feature_of(example, features.IMAGE).bytes_list.value[0] == image
    assert set(not_png()) == {features.SERVING_DEFAULT, features.SERVING_EXAMPLES}
