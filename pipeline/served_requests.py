"""Requests that a model got, from wherever they were kept, as counts.

Synopsis::

    served = read_requests(Path("requests.tfrecord"), version.path, image_spec)
    served.summary, served.labelled, served.skipped

Nothing of an image is kept but its part in the counts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from components.evaluation.prediction_files import PredictionsFile, read_predictions
from components.example_gen.columns import FORMS
from components.example_gen.data_error import DataError
from components.example_gen.encoded import SUFFIXES, stored_shape
from components.example_gen.folder import files_below
from components.gate.evidence import Tally
from components.monitoring.counts import Key, Summary, counts_of, size_of, summarize
from components.serving_check.classifier import (
    Classifier,
    ImageError,
    ModelError,
    read_encoded,
    read_pixels,
)
from pipeline.request_log import read_log
from trainer import features
from trainer.features import MAX_PIXELS, ImageSpec
from trainer.host.files import read_regular
from trainer.host.paths import missing
from trainer.host.text import listed, one_line

_IMAGES = (".png", ".jpg", ".jpeg")  # for a model that does not resize
_MAX_FILE_BYTES = 32 << 20
_ROUNDING = 1e-6  # of a float32 mean of white pixels
_BATCH = 250  # images that the model is asked about at once


@dataclasses.dataclass(frozen=True)
class Served:
    """What is known of requests.

    Attributes:
      labelled: the requests whose labels are known, and those answered right; None without labels.
      skipped: how many entries hold no image, or one that the model cannot take.
    """

    summary: Summary
    labelled: Tally | None = None
    skipped: int = 0


class _Seen(NamedTuple):
    """An image of a request.

    Attributes:
      pixels: what the network sees, [H, W, C] uint8; None if the model cannot take the image.
      size: as it was sent; "" if it is no image.
    """

    pixels: np.ndarray | None = None
    size: str = ""


class _Counts:
    """What has been counted so far of the requests to a model, which sees images as `spec` says."""

    def __init__(self, model: Path, spec: ImageSpec) -> None:
        self._model = model
        self.spec = spec
        self._counts: Counter[Key] = Counter()
        self._skipped = 0

    def add(self, images: Sequence[_Seen], answered: np.ndarray | None = None) -> None:
        """Adds images, and the probabilities [n, K] that were answered; else the model is asked."""
        taken = [image for image in images if image.pixels is not None]
        for image in images:
            if image.pixels is None:
                self._skipped += 1
                self._counts.update([("size", image.size)] if image.size else [])
        if not taken:
            return
        pixels = np.stack([image.pixels for image in taken if image.pixels is not None])
        if answered is None or len(taken) < len(images):
            answered = self.classifier.probabilities(pixels)
        expected = (len(taken), self.spec.num_classes)
        if answered.shape != expected:
            raise DataError(
                f"the predictions have the shape {list(answered.shape)}, expected "
                f"{list(expected)}: are these requests of another model?"
            )
        intensities = (pixels.mean(axis=(1, 2, 3)) / 255.0).tolist()
        sizes = [image.size for image in taken]
        self._counts.update(counts_of(answered, intensities=intensities, sizes=sizes))

    def skip(self) -> None:
        self._skipped += 1

    @functools.cached_property
    def classifier(self) -> Classifier:
        """The model; raises ModelError if it cannot be used, or is none of the spec."""
        model, spec = self._model, self.spec
        found = Classifier(model, spec.class_names)
        if not found.fits(spec):
            raise ModelError(
                f"the model {model} does not take images of the shape {list(spec.image_shape)} or "
                f"does not know {spec.num_classes} classes, as its release says: release the model "
                "anew"
            )
        return found

    def served(self) -> Served:
        return Served(Summary.of(self._counts, self.spec.num_classes), skipped=self._skipped)


def read_requests(source: Path, model: Path, spec: ImageSpec) -> Served:
    """Reads a folder of image files, a table (CSV, Parquet, NPZ) or a TFRecord of PredictionLog.

    Args:
      model: the directory of the released model.
      spec: what that sees of the images.

    Raises:
      DataError: there is no such source, it is something else, or no request is in it.
      ModelError: the model cannot be used, where it is needed, or is none of the spec.
    """
    if os.path.isdir(source):
        served = _from_folder(source, _Counts(model, spec))
    elif problem := missing(source):
        raise DataError(f"the source {source} {problem}, expected a folder or file of requests")
    elif not source.is_file():  # nobody may ever write into a pipe
        raise DataError(
            f"the source {source} is a device or pipe, expected a folder or file of requests"
        )
    elif source.suffix.lower() in FORMS:
        served = _from_table(source, spec)
    else:
        served = _from_log(source, _Counts(model, spec))
    if not served.summary.rows:
        sizes = list(served.summary.sizes)
        seen = f", with images of {listed(sizes)}" if sizes else ""
        wanted = size_of(*spec.image_shape[:2])
        raise DataError(
            f"{source} holds no request that the model can take ({served.skipped:,} entries were "
            f"skipped{seen}), expected one at least"
            + (f" of {wanted} pixels" if not spec.resize else "")
        )
    return served


def _from_folder(folder: Path, counts: _Counts) -> Served:
    _ = counts.classifier  # refused before files are read for it
    decode = _Decoder(counts.spec)
    suffixes = SUFFIXES if counts.spec.resize else _IMAGES
    files = [one for one in requests_below(folder) if one.suffix.lower() in suffixes]
    for at in range(0, len(files), _BATCH):
        counts.add([decode.file(file) for file in files[at : at + _BATCH]])
    return counts.served()


def requests_below(folder: Path) -> list[Path]:
    """Returns the files of a folder and those below it, sorted; raises DataError if one of these
    folders cannot be read, whose requests would not be compared.
    """
    try:
        found, _ = files_below([str(folder)])
    except OSError as error:
        raise DataError(
            f"the folder {error.filename} of requests cannot be read: {error.strerror}; give this "
            "user permission there"
        ) from error
    return sorted(map(Path, found))


def _from_log(file: Path, counts: _Counts) -> Served:
    decode = _Decoder(counts.spec)
    for request in read_log(file):
        if request is None:
            counts.skip()
            continue
        images, answered = request
        counts.add([decode(image) for image in images], answered)
    return counts.served()


class _Decoder:
    """Makes of the image of a request what the network sees of it, as the served model does."""

    def __init__(self, spec: ImageSpec) -> None:
        import tensorflow as tf

        from trainer.image_graph import to_pixels

        self._spec = spec
        self._encode = functools.partial(tf.io.encode_png, compression=0)
        self._decode = tf.function(
            lambda image: to_pixels(image, spec)[0],
            input_signature=[tf.TensorSpec([1], tf.string)],
            autograph=False,
        )
        self._refusals = tf.errors.InvalidArgumentError
        try:
            self._decode.get_concrete_function()
        except Exception as error:  # TensorFlow raises errors of many kinds
            raise ModelError(
                f"TensorFlow decodes no images of the shape {list(spec.image_shape)}, which the "
                f"release says: release the model anew ({one_line(error)})"
            ) from error

    def __call__(self, image: object) -> _Seen:
        """Takes the bytes of an image file, or pixels, [H, W, C] uint8."""
        size = ""
        with contextlib.suppress(self._refusals):
            if isinstance(image, np.ndarray) and image.dtype == np.uint8:
                image = self._encode(image).numpy()
            if isinstance(image, bytes):
                size = _size(image)
                return _Seen(self._decode([image]).numpy(), size)
        return _Seen(None, size)

    def file(self, path: Path) -> _Seen:
        """Reads an image file as `predict` does."""
        try:
            resize, shape = self._spec.resize, self._spec.image_shape
            return self(read_encoded(path) if resize else read_pixels(path, shape))
        except ImageError:
            with contextlib.suppress(OSError):
                return _Seen(None, _size(read_regular(path, max_bytes=_MAX_FILE_BYTES)))
            return _Seen()


def _size(image: bytes) -> str:
    try:
        return size_of(*stored_shape(image)[:2])
    except ValueError:
        return ""


def _from_table(file: Path, spec: ImageSpec) -> Served:
    read, names = read_predictions(file, served=True), list(spec.class_names)
    if read.scores is None or sorted(read.classes) != sorted(names):
        of_classes = f"probabilities of the classes {listed(read.classes)}"
        raise DataError(
            f"{file} has {'no probabilities' if read.scores is None else of_classes}, expected "
            f"those of the model's classes: {listed(names)}"
        )
    probabilities = read.scores[:, [read.classes.index(name) for name in names]]
    intensities, sizes = _image_columns(read)
    known = read.labels != ""
    right = np.array(names)[probabilities.argmax(axis=1)] == read.labels
    return Served(
        summarize(probabilities, intensities=intensities, sizes=sizes),
        Tally(int(known.sum()), int(right.sum())) if known.any() else None,
    )


def _image_columns(read: PredictionsFile) -> tuple[list[float], list[str]]:
    """Reads the mean intensities and the sizes of the images; none where no column holds them."""
    names = [features.MEAN_INTENSITY, features.HEIGHT, features.WIDTH]
    missing = [name for name in names if name not in read.columns]
    if len(missing) == len(names):
        return [], []
    if missing:
        raise DataError(
            f"{read.path} has no column {missing[0]!r}, expected {listed(names)}, or none of them"
        )
    intensities, heights, widths = (read.numbers(name) for name in names)
    _require(read, names[0], intensities, intensities <= 1.0 + _ROUNDING, "0 (black) to 1 (white)")
    for name, sides in zip(names[1:], (heights, widths), strict=True):
        whole = (sides >= 1.0) & (sides <= MAX_PIXELS) & (sides % 1.0 == 0.0)
        _require(read, name, sides, whole, "a whole number of pixels")
    pairs = np.column_stack([heights, widths]).astype(int).tolist()
    return intensities.tolist(), [size_of(height, width) for height, width in pairs]


def _require(
    read: PredictionsFile, name: str, values: np.ndarray, fits: np.ndarray, wanted: str
) -> None:
    for row in np.flatnonzero(~(fits & (values >= 0.0)))[:1]:
        read.refuse(int(row), f"{name} is {values[row]:g}, expected {wanted}")
