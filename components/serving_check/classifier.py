"""Classifies image files with a model as it is served.

    (answer,) = classify([Path("seven.png")], Path("serving/3"), class_names="0123456789")
    answer.class_name, answer.probabilities[0].probability      # ("7", 0.998)

A model that resizes is given the bytes of a file; for another one, images become pixels here. The
rest of the preprocessing is part of the model. TensorFlow is imported after files that are not
images have been refused.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from components.example_gen import encoded
from components.served_graph import NotRestored, ServedGraph
from trainer import features
from trainer.features import ImageSpec
from trainer.host import paths
from trainer.host.files import read_regular
from trainer.host.text import one_line

_FORMATS = ("PNG", "JPEG")
_MODES = {1: "L", 3: "RGB"}  # channels -> Pillow's name for them
# A file is read as a whole. An image of 2,000 by 2,000 pixels with 16 bits in each of 4 channels
# has as much without any compression.
_MAX_FILE_BYTES = 32 << 20


class ImageError(ValueError):
    """A file or image cannot be classified; the message says why, but does not name the file."""


class ModelError(RuntimeError):
    """The model cannot be used; the message is one line for the user."""


@dataclasses.dataclass(frozen=True)
class ClassProbability:
    """The probability of a class, 0..1."""

    class_index: int
    class_name: str
    probability: float


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The model's prediction for one image; `probabilities` start with the most probable class."""

    class_index: int
    class_name: str
    probabilities: tuple[ClassProbability, ...]


def classify(
    paths: Sequence[Path], model_dir: Path, class_names: Sequence[str]
) -> Iterator[Prediction | ImageError]:
    """Yields the prediction for each image file, or its error; raises ModelError."""
    classifier = None
    for path in paths:
        try:
            # Its header alone, so that no model is loaded for other files.
            with _opened(path, encoded.FORMATS):
                pass
            classifier = classifier or Classifier(model_dir, class_names)
            if classifier.image_shape is None:
                answer = classifier.predict_encoded(read_encoded(path))
            else:
                answer = classifier.predict(read_pixels(path, classifier.image_shape))
        except ImageError as error:
            yield error
        else:
            yield answer


def read_encoded(path: Path) -> bytes:
    """Reads an image file as a model that resizes takes it, see `encoded.storable`.

    Raises ImageError.
    """
    with _opened(path, encoded.FORMATS) as image:
        image.load()  # to the end, since Pillow says what is wrong with a file
    return encoded.storable(read_regular(path, max_bytes=_MAX_FILE_BYTES))


def read_pixels(path: Path, image_shape: tuple[int, int, int]) -> np.ndarray:
    """Reads a PNG or JPEG file as [H, W, C] uint8, turned upright by its EXIF orientation.

    Colours become grey by their luma (ITU-R 601-2), and grey becomes equal red, green and blue.
    Transparent images are laid on black, the background of the MNIST family. Of 16 bits per channel
    the upper 8 are taken, as by TensorFlow's PNG decoder.

    Raises:
      ImageError: no readable image of this size, which is checked before anything is decoded.
    """
    height, width, channels = image_shape
    with _opened(path) as image:
        if image.size not in ((width, height), (height, width)):
            raise _of_another_size(image, width, height)
        upright = ImageOps.exif_transpose(image)
        if upright.size != (width, height):
            raise _of_another_size(upright, width, height)
        pixels = np.asarray(_on_black(_in_8_bits(upright)).convert(_MODES[channels]))
        return pixels.reshape(image_shape)


@contextlib.contextmanager
def _opened(path: Path, formats: tuple[str, ...] = _FORMATS) -> Iterator[Image.Image]:
    """Opens an image without decoding it; Pillow's errors become an ImageError."""
    try:
        with encoded.opened(read_regular(path, max_bytes=_MAX_FILE_BYTES), formats) as image:
            yield image
    except ImageError:
        raise
    except encoded.BrokenImage as error:
        raise ImageError(str(error)) from error
    except UnidentifiedImageError as error:
        raise ImageError("is no image that the model takes: convert it to PNG") from error
    # Pillow raises errors of many kinds on damaged files.
    except Exception as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"cannot be read: {reason}; give another file") from error


def _of_another_size(image: Image.Image, width: int, height: int) -> ImageError:
    return ImageError(
        f"is {image.width} pixels wide and {image.height} high, expected {width} and {height}: "
        f"scale it to {width}x{height}"
    )


def _in_8_bits(image: Image.Image) -> Image.Image:
    """Pillow's own conversion makes every 16-bit value above 255 white, and loses transparency."""
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image)  # [H, W], 16 bits
    grey = Image.fromarray((values >> 8).astype(np.uint8))
    transparent = image.info.get("transparency")
    if transparent is not None:
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey


def _on_black(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    black = Image.new("RGBA", image.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, image.convert("RGBA"))


class Classifier:
    """A SavedModel of this pipeline, called by its signature for pixels.

    Attributes:
      image_shape: (height, width, channels); None if the model resizes.
    """

    def __init__(self, model_dir: Path, class_names: Sequence[str]) -> None:
        """Loads the SavedModel; raises ModelError if that is not one of this pipeline.

        Args:
          class_names: in the order of the labels. If their number is not that of the model's
            classes, the classes are named by their numbers.
        """
        try:
            paths.require_no_pattern("the model's directory", model_dir)
        except ValueError as error:
            raise ModelError(str(error)) from None
        try:
            self._graph = ServedGraph(model_dir)
            self._signature = self._graph.signatures[features.PREDICT_PIXELS]
            pixels = self._signature.inputs[features.PIXELS_INPUT]
            height, width, channels = pixels.shape.as_list()[1:]
        # TensorFlow raises errors of many kinds on what it does not understand.
        except Exception as error:
            raise ModelError(
                f"the model {model_dir} cannot be used, expected one that this pipeline exports, "
                f"with the signature {features.PREDICT_PIXELS}: {one_line(error)}"
            ) from error
        if channels not in _MODES:
            raise ModelError(
                f"the model {model_dir} takes images of {channels} channels, expected 1 (grey) or "
                f"3 (RGB): call its signature {features.PREDICT_PIXELS} with your own pixels"
            )
        resizes = height is None and features.SERVING_DEFAULT in self._graph.signatures
        self.image_shape = None if resizes else (height, width, channels)
        self._class_names = tuple(class_names)
        self._model_dir = model_dir

    def fits(self, spec: ImageSpec) -> bool:
        """Tells whether the model takes images of the spec's shape, and has as many classes."""
        pixels = self._signature.inputs[features.PIXELS_INPUT]
        probabilities = self._signature.outputs[features.PROBABILITIES]
        return bool(
            pixels.shape.is_compatible_with([None, *spec.image_shape])
            and probabilities.shape.is_compatible_with([None, spec.num_classes])
        )

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """Returns the class probabilities of images, [n, H, W, C] uint8: [n, K] float32."""
        inputs = {features.PIXELS_INPUT: pixels}
        return self._ask(features.PREDICT_PIXELS, inputs)[features.PROBABILITIES]

    def predict(self, pixels: np.ndarray) -> Prediction:
        """Classifies one image, [H, W, C] uint8."""
        inputs = {features.PIXELS_INPUT: pixels[np.newaxis]}
        return self._answer(self._ask(features.PREDICT_PIXELS, inputs))

    def predict_encoded(self, image: bytes) -> Prediction:
        """Classifies the bytes of one image; raises ImageError if the model cannot decode them."""
        import tensorflow as tf

        inputs = {features.IMAGE_BYTES_INPUT: np.array([image], object)}
        try:
            return self._answer(self._ask(features.SERVING_DEFAULT, inputs))
        except tf.errors.InvalidArgumentError as error:
            raise ImageError(
                "cannot be decoded by TensorFlow: it is damaged, or of an unusual kind; convert it "
                "to PNG"
            ) from error

    def _ask(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        try:
            return self._graph.ask(signature, inputs)
        except NotRestored as error:
            raise ModelError(
                f"the model {self._model_dir} cannot be asked: {error}; release a new one, which "
                "the command of its run makes"
            ) from error

    def _answer(self, outputs: Mapping[str, np.ndarray]) -> Prediction:
        (index,) = outputs[features.CLASS_INDEX]
        (name,) = outputs[features.CLASS_NAME]
        (probabilities,) = outputs[features.PROBABILITIES]  # [num_classes]
        names = self._class_names
        if len(names) != len(probabilities):
            names = tuple(map(str, range(len(probabilities))))
        found = tuple(
            ClassProbability(int(place), names[place], float(probabilities[place]))
            for place in np.argsort(-probabilities, kind="stable")
        )
        return Prediction(int(index), name.decode("utf-8"), found)
