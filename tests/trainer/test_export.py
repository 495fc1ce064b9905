import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from tests.trainer.samples import SPEC, png, serialize
from trainer import export, features
from trainer.hparams import HParams
from trainer.model import build_model


@pytest.fixture(scope="module")
def network():
    return build_model(HParams(), image_shape=SPEC.image_shape, num_classes=SPEC.num_classes)


@pytest.fixture(scope="module")
def saved(prepared, network, tmp_path_factory) -> str:
    path = str(tmp_path_factory.mktemp("model") / "saved")
    export.save(network, tft.TFTransformOutput(prepared.transform_output), SPEC, path)
    return path


@pytest.fixture(scope="module")
def signatures(saved):
    """The signatures as a server finds them: loaded from disk."""
    loaded = tf.saved_model.load(saved)
    yield loaded.signatures
    del loaded


@pytest.fixture(scope="module")
def pngs(prepared):
    return tf.constant([png(image) for image in prepared.eval_pixels])


def test_same_bytes_through_transform_and_through_the_export_agree_exactly(
    prepared, network, signatures, pngs
):
    layer = tft.TFTransformOutput(prepared.transform_output).transform_features_layer()
    images = layer({features.IMAGE: pngs})[features.NORMALIZED_IMAGE]
    expected = tf.nn.softmax(tf.function(network)(images, training=False))
    served = signatures[features.SERVING_DEFAULT](image_bytes=pngs)
    np.testing.assert_array_equal(served[features.PROBABILITIES], expected)


def test_every_signature_gives_the_same_prediction(prepared, signatures, pngs):
    examples = [
        serialize(encoded, int(label))
        for encoded, label in zip(pngs.numpy(), prepared.eval_labels, strict=True)
    ]
    by_bytes = signatures[features.SERVING_DEFAULT](image_bytes=pngs)
    by_pixels = signatures[features.PREDICT_PIXELS](pixels=tf.constant(prepared.eval_pixels))
    by_example = signatures[features.SERVING_EXAMPLES](examples=tf.constant(examples))
    assert set(by_bytes) == {features.PROBABILITIES, features.CLASS_NAME, features.CLASS_INDEX}
    for name, value in by_bytes.items():
        np.testing.assert_array_equal(by_pixels[name], value)
        np.testing.assert_array_equal(by_example[name], value)


@pytest.mark.parametrize("name", [features.SERVING_DEFAULT, features.PREDICT_PIXELS])
def test_a_server_with_a_gpu_takes_the_cpu_for_what_is_done_image_by_image(
    prepared, saved, pngs, name
):
    """The second device of the CPU stands for the GPU, where a server puts what names no device."""
    given = prepared.eval_pixels if name == features.PREDICT_PIXELS else pngs.numpy()
    v1 = tf.compat.v1
    options = v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE)
    ran = v1.RunMetadata()
    two = v1.ConfigProto(device_count={"CPU": 2})
    with tf.Graph().as_default(), tf.device("CPU:1"), v1.Session(config=two) as session:
        signature = v1.saved_model.load(session, ["serve"], saved).signature_def[name]
        ((_, fed),) = signature.inputs.items()
        outputs = [one.name for one in signature.outputs.values()]
        session.run(outputs, {fed.name: given}, options, ran)
    devices = {
        kind: {of.device[-5:] for of in ran.step_stats.dev_stats if _ran(kind, of.node_stats)}
        for kind in ("EncodePng", "DecodePng", "TensorListReserve", "Conv2D")
    }
    assert devices == {
        "EncodePng": {"CPU:0"} if name == features.PREDICT_PIXELS else set(),
        "DecodePng": {"CPU:0"},
        "TensorListReserve": {"CPU:0"},
        "Conv2D": {"CPU:1"},
    }


def _ran(kind: str, nodes) -> bool:
    return any(f"{kind}(" in node.timeline_label for node in nodes)  # "name = Kind(inputs)"


def test_pixels_are_asked_for_in_the_networks_size_where_nothing_is_resized(signatures):
    _, inputs = signatures[features.PREDICT_PIXELS].structured_input_signature
    assert inputs[features.PIXELS_INPUT].shape.as_list() == [None, *SPEC.image_shape]


def test_prediction_names_the_most_probable_class(signatures, pngs):
    served = signatures[features.SERVING_DEFAULT](image_bytes=pngs)
    probabilities = served[features.PROBABILITIES].numpy()
    assert probabilities.shape == (32, SPEC.num_classes)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    index = probabilities.argmax(axis=1)
    np.testing.assert_array_equal(served[features.CLASS_INDEX], index)
    names = [name.decode() for name in served[features.CLASS_NAME].numpy()]
    assert names == [SPEC.class_names[i] for i in index]


def test_transform_features_gives_the_one_hot_label(signatures):
    examples = tf.constant([serialize(b"not looked at", 2)])
    (label,) = signatures[features.TRANSFORM_FEATURES](examples=examples)[features.ONE_HOT_LABEL]
    np.testing.assert_array_equal(label, [0, 0, 1, 0])


def test_a_bad_image_fails_its_request_and_not_the_model(signatures, pngs):
    for broken in (b"no image", png(np.zeros((5, 10, 3), np.uint8))):
        with pytest.raises(tf.errors.InvalidArgumentError):
            signatures[features.SERVING_DEFAULT](image_bytes=tf.constant([broken]))
    assert len(signatures[features.SERVING_DEFAULT](image_bytes=pngs)[features.CLASS_INDEX]) == 32


def test_a_network_that_augments_in_a_layer_of_its_own_is_exported(prepared, tmp_path, pngs):
    layers = (keras.layers.RandomFlip(), keras.layers.Flatten(), keras.layers.Dense(4))
    network = keras.Sequential([keras.Input(SPEC.image_shape), *layers])
    transform = tft.TFTransformOutput(prepared.transform_output)
    export.save(network, transform, SPEC, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    answers = [loaded.signatures[features.SERVING_DEFAULT](image_bytes=pngs) for _ in range(2)]
    np.testing.assert_array_equal(*(answer[features.PROBABILITIES] for answer in answers))


class Scaled(keras.layers.Layer):
    """Reads a variable of TensorFlow's that is none of Keras's weights."""

    def build(self, shape):
        self.factor = tf.Variable(2.0, trainable=False)

    def call(self, images):
        return self.factor * images


def of_its_own():
    layers = (Scaled(), keras.layers.RandomFlip(), keras.layers.Flatten(), keras.layers.Dense(4))
    return keras.Sequential([keras.Input(SPEC.image_shape), *layers])


@pytest.mark.parametrize("name", ["convnet", "residual", "of its own"])
def test_a_server_that_knows_no_python_answers_the_same(prepared, tmp_path, pngs, name: str):
    """TensorFlow Serving restores the variables of the graph, and not Python's objects."""
    path, shape = str(tmp_path / "saved"), SPEC.image_shape
    network = (
        of_its_own()
        if name == "of its own"
        else build_model(HParams(architecture=name), image_shape=shape, num_classes=4)
    )
    export.save(network, tft.TFTransformOutput(prepared.transform_output), SPEC, path)
    expected = tf.saved_model.load(path).signatures[features.SERVING_DEFAULT](image_bytes=pngs)
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], path)
        signature = graph.signature_def[features.SERVING_DEFAULT]
        probabilities, names = session.run(
            [signature.outputs[key].name for key in (features.PROBABILITIES, features.CLASS_NAME)],
            {signature.inputs[features.IMAGE_BYTES_INPUT].name: pngs.numpy()},
        )
    np.testing.assert_allclose(probabilities, expected[features.PROBABILITIES], atol=1e-6)
    np.testing.assert_array_equal(names, expected[features.CLASS_NAME].numpy())
