"""Any SavedModel, asked by its own signature: images in, probabilities out.

    model = load(Path("serving/3"), "serving_default", image_shape=(28, 28, 1), num_classes=10)
    model.probabilities(pngs, pixels)       # [B, K]

docs/gate-check.md states what a signature must take and give. A SavedModel is a program, and runs
with the rights of the user who loads it.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.gate.check import NotChecked
from components.served_graph import NotRestored, ServedGraph
from trainer import features
from trainer.host import paths
from trainer.host.errors import Refusal
from trainer.host.text import one_line, quoted

IMAGE_FILES = "image files"
PIXELS = "pixels"
GREY_PIXELS = "pixels without a channel axis"

_SUM_TOLERANCE = 1e-3  # of a row of probabilities, which may be rounded to some digits
# Unit roundoff of the narrow floats, narrowest first: half the distance of 1 to the next number.
_NARROW = ((tf.bfloat16.as_numpy_dtype, 2.0**-8), (np.float16, 2.0**-11))
_KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")
_GIVE = "give the directory of one, such as that of a released version"
_NO_MEMORY = (MemoryError, tf.errors.ResourceExhaustedError)


class ModelRefused(Refusal):
    """The model does not keep the contract; the message is one line for the user."""


@dataclasses.dataclass(frozen=True)
class Model:
    """A loaded SavedModel; `takes` is one of IMAGE_FILES, PIXELS and GREY_PIXELS."""

    path: Path
    signature: str
    input: str
    takes: str
    output: str
    num_classes: int
    _graph: ServedGraph = dataclasses.field(repr=False)

    def probabilities(self, files: np.ndarray, pixels: np.ndarray) -> npt.NDArray[np.float64]:
        """Returns the class probabilities of B images, [B, K]; NaN and infinity are accepted.

        Args:
          files: [B] bytes objects, as the data set stores them.
          pixels: [B, H, W, C] uint8, of the same images.

        Raises:
          ModelRefused: the model fails, or its output is not probabilities.
          NotChecked: memory does not suffice to ask the model.
        """
        images = {IMAGE_FILES: files, PIXELS: pixels, GREY_PIXELS: pixels[..., 0]}[self.takes]
        try:
            outputs = self._graph.ask(self.signature, {self.input: images})
        except _NO_MEMORY as error:
            raise _not_checked(self.path, error) from error
        except NotRestored as error:
            raise ModelRefused(
                f"the SavedModel in {self.path} cannot be asked: {error}; export it again, as "
                "keras.Model.export does"
            ) from error
        except Exception as error:  # TensorFlow's are of many kinds
            raise ModelRefused(
                f"the signature {quoted(self.signature)} of {self.path} fails on test images as "
                f"{self.takes}: {one_line(error)}; choose another signature, or export one that "
                "takes them"
            ) from error
        given = np.asarray(outputs[self.output], np.float64)
        self._require_probabilities(given, rows=len(pixels))
        return given

    def _require_probabilities(self, given: np.ndarray, *, rows: int) -> None:
        what = (
            f"the output {quoted(self.output)} of the signature {quoted(self.signature)} of "
            f"{self.path}"
        )
        if given.shape != (rows, self.num_classes):
            raise ModelRefused(
                f"{what} has the shape {given.shape} for {rows} images, expected "
                f"{(rows, self.num_classes)}: one probability for each class"
            )
        finite = given[np.isfinite(given).all(axis=1)]
        tolerance = sum_tolerance(finite)
        off = (np.abs(finite.sum(axis=1) - 1.0) > tolerance) | (finite < 0.0).any(axis=1)
        if off.any():
            row = finite[off][0]
            raise ModelRefused(
                f"{what} holds no probabilities: those of one image are {row.min():.4g} to "
                f"{row.max():.4g} and sum to {row.sum():.4g}, expected 0 or more and a sum of 1 "
                f"within {tolerance:.2g}; if they are logits, export a signature that ends in a "
                "softmax"
            )


def sum_tolerance(probabilities: np.ndarray) -> float:
    """How far sums of probabilities, [B, K], may be from 1 by rounding alone (docs/gate-check.md).

    With the unit roundoff u, the pairwise sum of the K powers by which the softmax divides is off
    by a factor of at most 1 + ceil(log2(K)) u (Higham, The Accuracy of Floating Point Summation,
    1993), and powers and quotients are rounded by u each. Measured in TensorFlow for 1000 classes:
    1 u in bfloat16, 4.6 u in float16.
    """
    classes = probabilities.shape[1]
    with np.errstate(over="ignore"):  # logits may lie beyond float16
        for dtype, roundoff in _NARROW:
            if np.array_equal(probabilities.astype(dtype).astype(np.float64), probabilities):
                return max(_SUM_TOLERANCE, (math.ceil(math.log2(classes)) + 2) * roundoff)
    return _SUM_TOLERANCE


def require_saved_model(path: Path) -> None:
    """Raises ModelRefused, with what is there instead, for a path without a SavedModel."""
    if not tf.saved_model.contains_saved_model(str(path)):
        raise ModelRefused(f"there is no SavedModel in {path}: {_instead(path)}")


def _instead(path: Path) -> str:
    if os.path.isfile(path):
        if path.suffix in _KERAS_SUFFIXES:
            return (
                "it is a Keras file; write a SavedModel with keras.models.load_model(FILE)"
                ".export(DIR), and give DIR"
            )
        return f"it is a file; {_GIVE}"
    if not os.path.isdir(path):
        return f"it {paths.missing(path) or 'is no directory'}; {_GIVE}"
    try:
        names = sorted(os.listdir(path), key=lambda name: (name.isdecimal(), len(name), name))
    except OSError as error:
        return f"it cannot be read ({error.strerror}); give this user permission there"
    if not names:
        return f"it is empty; {_GIVE}"
    inside = [name for name in names if tf.saved_model.contains_saved_model(str(path / name))]
    if inside:  # versions of a serving directory by their numbers, or the layout of TFX
        return f"it holds some, of which {path / inside[-1]} is the last; give that, or another"
    return f"it holds no saved_model.pb; {_GIVE}"


def load(
    path: Path, signature: str, *, image_shape: tuple[int, int, int], num_classes: int
) -> Model:
    """Loads a SavedModel whose signature fits the data set's images (height, width, channels).

    Raises PathRefused, and ModelRefused if it cannot be loaded, lacks the signature, or has one
    that does not fit.
    """
    paths.require_no_pattern("the model's directory", path)
    try:
        graph = ServedGraph(path)
    except _NO_MEMORY as error:
        raise _not_checked(path, error) from error
    except Exception as error:  # TensorFlow's are of many kinds
        raise ModelRefused(
            f"the SavedModel in {path} cannot be loaded: {one_line(error)}; export it again, with "
            f"TensorFlow {tf.__version__} or older"
        ) from error
    if signature not in graph.signatures:
        raise ModelRefused(
            f"the model {path} has no signature {quoted(signature)}: choose another; it has "
            f"{', '.join(sorted(graph.signatures)) or 'none'}"
        )
    known = graph.signatures[signature]
    what = f"the signature {quoted(signature)} of {path}"
    name, takes = _input(what, known.inputs, image_shape)
    output = _output(what, known.outputs, num_classes)
    return Model(path, signature, name, takes, output, num_classes, graph)


def _input(
    what: str, inputs: Mapping[str, tf.TensorSpec], image_shape: tuple[int, int, int]
) -> tuple[str, str]:
    height, width, channels = image_shape
    if len(inputs) == 1:
        ((name, spec),) = inputs.items()
        if _fits(spec, tf.string):
            return name, IMAGE_FILES
        if _fits(spec, tf.uint8, height, width, channels):
            return name, PIXELS
        if channels == 1 and _fits(spec, tf.uint8, height, width):
            return name, GREY_PIXELS
    raise ModelRefused(
        f"{what} takes {_described(inputs)}, expected one input for any number of images: files, "
        f"(None,) string, or pixels from 0 to 255, {(None, *image_shape)} uint8; scaling "
        "belongs into the model: export such a signature, or choose another"
    )


def _output(what: str, outputs: Mapping[str, tf.TensorSpec], num_classes: int) -> str:
    fitting = [
        name
        for name, spec in outputs.items()
        if spec.dtype.is_floating and _fits(spec, spec.dtype, num_classes)
    ]
    if features.PROBABILITIES in fitting:
        return features.PROBABILITIES
    if features.PROBABILITIES not in outputs and len(fitting) == 1:
        return fitting[0]
    raise ModelRefused(
        f"{what} gives {_described(outputs)}, expected {quoted(features.PROBABILITIES)}, or one "
        f"output alone, of floats {(None, num_classes)}: one for each class of the data set; "
        "export such a signature, or choose another"
    )


def _fits(spec: tf.TensorSpec, dtype: tf.DType, *sizes: int) -> bool:
    """Tells whether batches of any length fit, of tensors of these sizes."""
    return spec.dtype == dtype and all(
        spec.shape.is_compatible_with([rows, *sizes]) for rows in (1, 2)
    )


def _described(specs: Mapping[str, tf.TensorSpec]) -> str:
    described: Sequence[str] = [
        f"{quoted(name)} {spec.shape} {spec.dtype.name}" for name, spec in sorted(specs.items())
    ]
    return " and ".join(described) or "nothing"


def _not_checked(path: Path, error: Exception) -> NotChecked:
    return NotChecked(
        f"the model {path} could not be asked, which says nothing about it: {one_line(error)}; "
        "free memory and run the same again: nothing was decided"
    )
