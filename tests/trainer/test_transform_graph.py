import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from tests.trainer.samples import png
from tests.trainer.transforms import write_transform
from trainer import features
from trainer.transform_graph import TransformGraph


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


def test_a_graph_is_the_same_in_every_process(tmp_path):
    """The order of a set of texts is not: six features would be in order in one of 120 cases."""
    sizes = dict(zip("abcdef", range(1, 7), strict=True))
    path = write_transform(
        tmp_path / "sizes",
        [{name: [0.0] * size for name, size in sizes.items()}],
        {name: tf.io.FixedLenFeature([size], tf.float32) for name, size in sizes.items()},
        lambda inputs: {f"{name}_": value for name, value in inputs.items()},
    )
    transform = tf.function(TransformGraph(tft.TFTransformOutput(path)), autograph=False)
    traced = transform.get_concrete_function({"a": tf.TensorSpec([None, 1])})
    defaults = [
        operation.outputs[0].shape[1]
        for operation in traced.graph.get_operations()
        if operation.type == "PlaceholderWithDefault"
    ]
    assert defaults == [2, 3, 4, 5, 6]


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
