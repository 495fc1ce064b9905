"""The same bytes by every way to the network: ExampleGen's pixels, training's, each signature's."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from components.example_gen.images import decode
from tests.trainer import image_files
from tests.trainer.samples import serialize
from tests.trainer.transforms import write_spec_transform
from trainer import export, features, inputs
from trainer.features import ImageSpec
from trainer.hparams import HParams
from trainer.model import build_model

FILES = image_files.all_files()
SPECS = [
    # A file is decoded and fitted alike by all; test_image_graph.py has "crop".
    pytest.param(ImageSpec((24, 20, 3), ("a", "b"), "stretch"), id="stretch"),
    pytest.param(ImageSpec((24, 20, 1), ("a", "b"), "pad"), id="pad", marks=pytest.mark.once),
]
CHOSEN = ["PNG, see-through", "PNG, grey of 16 bits", "JPEG, CMYK", "JPEG, orientation 6", "BMP"]


@dataclasses.dataclass(frozen=True)
class Trained:
    spec: ImageSpec
    split: inputs.LoadedSplit
    network: Any
    signatures: Any


@pytest.fixture(scope="module", params=SPECS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A network with random weights, behind the graph that Transform analyzed."""
    spec, root = request.param, tmp_path_factory.mktemp("trained")
    images = list(FILES.values())
    transform = tft.TFTransformOutput(
        write_spec_transform(root / "transform", spec, images, np.arange(len(images)) % 2)
    )
    records = str(root / "records.gz")
    with tf.io.TFRecordWriter(records, "GZIP") as writer:
        for row, image in enumerate(images):
            writer.write(serialize(image, row % 2))
    network = build_model(HParams(), image_shape=spec.image_shape, num_classes=2)
    export.save(network, transform, spec, str(root / "model"))
    signatures = tf.saved_model.load(str(root / "model")).signatures
    return Trained(spec, inputs.SplitReader([records], transform, spec).load(), network, signatures)


def test_training_sees_the_pixels_that_example_gen_hashed(trained: Trained) -> None:
    pixels = decode(np.array(list(FILES.values()), object), trained.spec)
    assert pixels.shape[1:] == trained.spec.image_shape
    np.testing.assert_array_equal(trained.split.images, pixels)


def test_every_signature_answers_as_the_network_does_in_training(trained: Trained) -> None:
    split, images = trained.split, list(FILES.values())
    network = tf.function(trained.network, autograph=False)
    expected = tf.nn.softmax(network(split.normalized(split.images), training=False))
    examples = [serialize(image, 0) for image in images]
    for signature, given in (
        (features.SERVING_DEFAULT, {"image_bytes": tf.constant(images)}),
        (features.SERVING_EXAMPLES, {"examples": tf.constant(examples)}),
        (features.PREDICT_PIXELS, {"pixels": split.images}),
    ):
        answer = trained.signatures[signature](**given)[features.PROBABILITIES]
        np.testing.assert_array_equal(answer, expected, err_msg=signature)


@pytest.mark.parametrize("name", CHOSEN)
def test_pixels_of_any_size_are_resized_as_the_file_is(trained: Trained, name: str) -> None:
    shape = (21, 15) if "orientation 6" in name else (15, 21)
    own = ImageSpec((*shape, trained.spec.image_shape[2]), ("a", "b"), trained.spec.resize)
    pixels = decode(np.array([FILES[name]], object), own)  # decoded, and not resized
    by_pixels = trained.signatures[features.PREDICT_PIXELS](pixels=tf.constant(pixels))
    by_bytes = trained.signatures[features.SERVING_DEFAULT](image_bytes=tf.constant([FILES[name]]))
    difference = by_pixels[features.PROBABILITIES] - by_bytes[features.PROBABILITIES]
    # Grey is made of the resized colours in one, and resized in the other: it may be rounded.
    bound = 0.0 if trained.spec.image_shape[2] == 3 else 0.01
    assert np.abs(difference).max() <= bound
