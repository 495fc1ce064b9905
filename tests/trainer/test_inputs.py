import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from tests.trainer.samples import SPEC, png
from tests.trainer.transforms import normalized, write_transform
from trainer import features, inputs
from trainer.inputs import TransformGraph


def numbered(rows: int) -> inputs.LoadedSplit:
    """A split whose every pixel of image i has the value i."""
    images = np.broadcast_to(np.arange(rows, dtype=np.uint8)[:, None, None, None], (rows, 8, 8, 1))
    return inputs.LoadedSplit(
        images=tf.constant(images),
        labels=tf.one_hot(tf.range(rows) % 2, 2),
        levels=tf.range(256, dtype=tf.float32)[:, None],
    )


def unchanged(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    return images


def order(split: inputs.LoadedSplit, **changes) -> list[list[int]]:
    options = {"batch": 4, "epochs": 2, "seed": 7, "augment": unchanged} | changes
    batches = inputs.training_batches(split, **options)
    return [images[:, 0, 0, 0].numpy().astype(int).tolist() for images, _ in batches]


def test_load_split_keeps_rows_and_order(prepared):
    split = inputs.load_split(
        [prepared.eval_files], tft.TFTransformOutput(prepared.transform_output)
    )
    assert split.images.shape == (32, *SPEC.image_shape)
    np.testing.assert_array_equal(split.images, prepared.eval_pixels)
    np.testing.assert_array_equal(np.argmax(split.labels, axis=1), prepared.eval_labels)


def test_images_are_normalized_to_the_bits_of_the_transform_graph(prepared):
    tft_output = tft.TFTransformOutput(prepared.transform_output)
    split = inputs.load_split([prepared.eval_files], tft_output)
    expected = normalized(prepared.transform_output, [png(image) for image in prepared.eval_pixels])
    np.testing.assert_array_equal(split.normalized(split.images), expected)


class NormalizesByTheImage(TransformGraph):
    """Takes from each image its own brightest pixel."""

    def __call__(self, raw):
        transformed = super().__call__(raw)
        if features.NORMALIZED_IMAGE in transformed:
            images = transformed[features.NORMALIZED_IMAGE]
            images = images - tf.reduce_max(images, axis=[1, 2, 3], keepdims=True)
            transformed = transformed | {features.NORMALIZED_IMAGE: images}
        return transformed


def test_a_transform_graph_that_looks_beyond_the_pixel_is_refused(prepared, monkeypatch):
    monkeypatch.setattr(inputs, "TransformGraph", NormalizesByTheImage)
    with pytest.raises(ValueError, match="does not normalize each pixel by its own grey level"):
        inputs.load_split([prepared.eval_files], tft.TFTransformOutput(prepared.transform_output))


def test_load_split_without_examples_says_so(prepared, tmp_path):
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match=r"no examples in .*empty\*: is the split empty"):
        inputs.load_split(
            [str(tmp_path / "empty*")], tft.TFTransformOutput(prepared.transform_output)
        )


def test_an_epoch_sees_every_example_once():
    batches = order(numbered(12), epochs=1)
    assert sorted(row for batch in batches for row in batch) == list(range(12))


def test_epochs_differ_in_order():
    batches = order(numbered(12))
    assert batches[:3] != batches[3:]


def test_the_rest_that_fills_no_batch_is_dropped():
    assert [len(batch) for batch in order(numbered(11), epochs=1)] == [4, 4]


def test_same_seed_same_batches_and_another_seed_others():
    assert order(numbered(12)) == order(numbered(12))
    assert order(numbered(12)) != order(numbered(12), seed=8)


def test_the_batches_after_some_epochs_are_those_that_would_have_come():
    assert order(numbered(12), epochs_done=1) == order(numbered(12))[3:]


def test_labels_stay_with_their_images():
    for images, labels in inputs.training_batches(
        numbered(12), batch=4, epochs=3, seed=0, augment=unchanged
    ):
        parity = images[:, 4, 4, 0].numpy().astype(int) % 2
        np.testing.assert_array_equal(np.argmax(labels, axis=1), parity)


def test_each_step_is_augmented_with_a_seed_of_its_own():
    def show_seed(images, seed):
        return tf.zeros_like(images) + tf.cast(seed[1], tf.float32)

    assert [rows[0] for rows in order(numbered(12), augment=show_seed)] == [0, 1, 2, 3, 4, 5]


def test_a_batch_larger_than_the_split_is_refused():
    with pytest.raises(ValueError, match=r"global batch is 16, but train has only 12 examples"):
        inputs.training_batches(numbered(12), batch=16, epochs=1, seed=0, augment=unchanged)


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> str:
    """A transform graph with a table: words become their place in a vocabulary, by frequency."""
    return write_transform(
        tmp_path_factory.mktemp("words"),
        [{"word": word} for word in (b"ant", b"bee", b"bee")],
        {"word": tf.io.FixedLenFeature([], tf.string)},
        lambda inputs: {"place": tft.compute_and_apply_vocabulary(inputs["word"])},
    )


def test_each_feature_is_transformed_by_itself_as_with_the_other(prepared):
    output = tft.TFTransformOutput(prepared.transform_output)
    raw = {
        features.IMAGE: tf.constant([png(image) for image in prepared.eval_pixels]),
        features.LABEL: tf.constant(prepared.eval_labels),
    }
    transform = tf.function(TransformGraph(output), autograph=False)
    expected = output.transform_features_layer()(raw)
    for name, made in (
        (features.IMAGE, features.NORMALIZED_IMAGE),
        (features.LABEL, features.ONE_HOT_LABEL),
    ):
        transformed = transform({name: raw[name]})
        assert set(transformed) == {made}
        np.testing.assert_array_equal(transformed[made], expected[made])


def test_a_model_that_holds_it_is_saved_with_its_tables(words, tmp_path):
    moved = shutil.copytree(words, tmp_path / "transform")

    class Places(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.transform = TransformGraph(tft.TFTransformOutput(str(moved)))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def of(self, words: tf.Tensor) -> tf.Tensor:
            return self.transform({"word": words})["place"]

    tf.saved_model.save(Places(), str(tmp_path / "saved"))
    shutil.rmtree(moved)
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_array_equal(loaded.of(tf.constant(["ant", "bee", "cat"])), [1, 0, -1])
