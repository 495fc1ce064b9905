"""The test images about which a server is asked, and the Evaluator's predictions for them.

Synopsis::

    sample = read_sample(uri_of_test_split, predictions, spec)
    sample.inputs("serving_default", np.arange(3))     # {"image_bytes": [3] encoded}
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.example_gen.images import decode, read_examples
from components.serving_check.contract import Tensors
from trainer import features
from trainer.features import ImageSpec


@dataclasses.dataclass(frozen=True)
class Sample:
    """N images of the test split, at least one.

    Attributes:
      images: [N] bytes objects, encoded.
      pixels: [N, H, W, C] uint8, what the network sees of them.
      examples: [N] bytes objects, serialized tf.Examples.
      labels: [N] int64.
      probabilities: [N, K] float32, as the Evaluator's candidate predicted them.
    """

    images: npt.NDArray[np.object_]
    pixels: npt.NDArray[np.uint8]
    examples: npt.NDArray[np.object_]
    labels: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32]
    spec: ImageSpec

    def __len__(self) -> int:
        return len(self.images)

    def inputs(self, signature: str, rows: npt.NDArray[np.intp]) -> Tensors:
        """Returns the images with these row numbers as the input of that signature."""
        name, values = {
            features.SERVING_DEFAULT: (features.IMAGE_BYTES_INPUT, self.images),
            features.PREDICT_PIXELS: (features.PIXELS_INPUT, self.pixels),
            features.SERVING_EXAMPLES: (features.EXAMPLES_INPUT, self.examples),
            features.TRANSFORM_FEATURES: (features.EXAMPLES_INPUT, self.examples),
        }[signature]
        return {name: values[rows]}


def read_sample(
    split_uri: str, predictions: Mapping[str, npt.NDArray[np.float32]], spec: ImageSpec
) -> Sample:
    """Finds the images of the predictions; raises ValueError if other examples were evaluated.

    Args:
      split_uri: directory of gzipped TFRecords of tf.Example, as ExampleGen writes them.
      predictions: probabilities [K] by the hexadecimal SHA-256 of the images' bytes.
    """
    found: dict[str, tuple[bytes, bytes, int]] = {}
    for batch in read_examples(split_uri):
        for example, image, label in zip(*batch, strict=True):
            digest = hashlib.sha256(image).hexdigest()
            if digest in predictions:
                found[digest] = image, example, label
    if not predictions or found.keys() != predictions.keys():
        raise ValueError(
            f"{split_uri} holds {len(found)} of the {len(predictions)} images whose predictions "
            "the evaluation kept, expected all of them and at least one: were other examples "
            "evaluated?"
        )
    encoded, examples, labels = zip(*found.values(), strict=True)
    images = np.array(encoded, object)
    return Sample(
        images=images,
        pixels=decode(images, spec),
        examples=np.array(examples, object),
        labels=np.array(labels),
        probabilities=np.array([predictions[digest] for digest in found]),
        spec=spec,
    )


def other_shape(spec: ImageSpec) -> tuple[int, int, int]:
    """Returns the shape of an image that is a pixel too high and too wide."""
    height, width, channels = spec.image_shape
    return height + 1, width + 1, channels


def other_size(spec: ImageSpec) -> Mapping[str, Tensors]:
    """Returns, by signature, a request for one striped image of `other_shape`."""
    shape = other_shape(spec)
    pixels = (np.arange(math.prod(shape)) % 251).astype(np.uint8).reshape(1, *shape)
    return {
        **_encoded(tf.io.encode_png(pixels[0]).numpy()),
        features.PREDICT_PIXELS: {features.PIXELS_INPUT: pixels},
    }


def not_png() -> Mapping[str, Tensors]:
    """Returns a request whose bytes are no image, for each signature of encoded images."""
    return _encoded(b"no image")


def _encoded(image: bytes) -> dict[str, Tensors]:
    feature = {features.IMAGE: tf.train.Feature(bytes_list=tf.train.BytesList(value=[image]))}
    example = tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
    return {
        features.SERVING_DEFAULT: {features.IMAGE_BYTES_INPUT: np.array([image], object)},
        features.SERVING_EXAMPLES: {features.EXAMPLES_INPUT: np.array([example], object)},
    }
