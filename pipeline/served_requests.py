"""Requests that a model got, from wherever they were kept, as counts.

Synopsis::

    served = read_requests(Path("requests.tfrecord"), Model(version.path, class_names, (28, 28, 1)))
    served.summary, served.labelled, served.skipped

Nothing of an image is kept but its part in the counts.
"""

from __future__ import annotations

import dataclasses
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from components.monitoring.drift import Labelled
from components.monitoring.summary import Key, Summary, keys, size_of
from components.serving_check.prediction import Classifier, ImageError, read_pixels
from trainer import features
from trainer.host.text import one_line, quoted

if TYPE_CHECKING:
    import pyarrow as pa

_IMAGES = (".png", ".jpg", ".jpeg")
_TABLES = (".csv", ".parquet")
_BATCH = 250  # images that the model is asked about at once
_LABEL = "label"
_PREFIX = "p_"  # of the columns with the probabilities of a class


class RequestsError(ValueError):
    """The requests cannot be used; the message is one line for the user."""


@dataclasses.dataclass(frozen=True)
class Model:
    """The released model: its directory, classes in the order of the labels, and image shape."""

    path: Path
    class_names: Sequence[str]
    image_shape: tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Served:
    """What is known of requests.

    Attributes:
      labelled: None without labels.
      skipped: how many entries hold no image, or one that the model cannot take.
    """

    summary: Summary
    labelled: Labelled | None = None
    skipped: int = 0


@dataclasses.dataclass
class _Counts:
    """What has been counted so far."""

    num_classes: int
    counts: Counter[Key] = dataclasses.field(default_factory=Counter)
    skipped: int = 0

    def add(self, probabilities: np.ndarray, images: Sequence[np.ndarray]) -> None:
        """Adds predictions [n, K] for images, each [H, W, C] uint8."""
        if probabilities.shape != (len(images), self.num_classes):
            raise RequestsError(
                f"the predictions have the shape {list(probabilities.shape)}, expected "
                f"{[len(images), self.num_classes]}: are these requests of another model?"
            )
        for row, pixels in zip(probabilities, images, strict=True):
            self.counts.update(
                keys(row, (float(pixels.mean()) / 255.0, size_of(*pixels.shape[:2])))
            )

    def skip(self, pixels_size: tuple[int, int] | None) -> None:
        """Notes an entry that the model cannot take, and its image's (height, width) if known."""
        self.skipped += 1
        if pixels_size:
            self.counts[("size", size_of(*pixels_size))] += 1

    def served(self) -> Served:
        return Served(Summary.of(self.counts, self.num_classes), skipped=self.skipped)


def read_requests(source: Path, model: Model) -> Served:
    """Reads a folder of PNG and JPEG files, a table (CSV, Parquet) or a TFRecord of PredictionLog.

    Raises:
      RequestsError: there is no such source, it is something else, or no request is in it.
      ModelError: the model is needed for the predictions, and cannot be used.
    """
    if source.is_dir():
        served = _from_folder(source, model)
    elif not source.exists():
        raise RequestsError(f"the requests {source} do not exist, expected a folder or file")
    elif source.suffix.lower() in _TABLES:
        served = _from_table(source, model)
    else:
        served = _from_log(source, model)
    if not served.summary.rows:
        raise RequestsError(
            f"{source} holds no request that the model can take ({served.skipped:,} entries were "
            "skipped), expected one at least"
        )
    return served


def _from_folder(folder: Path, model: Model) -> Served:
    counts = _Counts(len(model.class_names))
    files = [one for one in sorted(folder.rglob("*")) if one.suffix.lower() in _IMAGES]
    classifier = Classifier(model.path, model.class_names) if files else None
    for at in range(0, len(files), _BATCH):
        images = []
        for file in files[at : at + _BATCH]:
            try:
                images.append(read_pixels(file, model.image_shape))
            except ImageError:
                counts.skip(_size(file))
        if images and classifier:
            counts.add(classifier.probabilities(np.stack(images)), images)
    return counts.served()


def _size(file: Path) -> tuple[int, int] | None:
    try:
        with Image.open(file) as image:
            return image.height, image.width
    except Exception:  # Pillow raises errors of many kinds on damaged files
        return None


def _from_log(file: Path, model: Model) -> Served:
    counts, classifier = _Counts(len(model.class_names)), None
    for request in _predict_requests(file):
        if request is None:
            counts.skip(None)
            continue
        inputs, probabilities = request
        images = [_pixels(one, model.image_shape[2]) for one in inputs]
        known = [image for image in images if image is not None]
        for _ in range(len(images) - len(known)):
            counts.skip(None)
        if probabilities is not None and len(known) == len(images):
            counts.add(probabilities, known)
            continue
        fitting = [image for image in known if image.shape == tuple(model.image_shape)]
        for image in known:
            if image.shape != tuple(model.image_shape):
                counts.skip((image.shape[0], image.shape[1]))
        if fitting:
            classifier = classifier or Classifier(model.path, model.class_names)
            counts.add(classifier.probabilities(np.stack(fitting)), fitting)
    return counts.served()


def _predict_requests(file: Path) -> Iterator[tuple[Iterable[Any], np.ndarray | None] | None]:
    """Yields the images of each logged request, PNG bytes or pixels, and the probabilities that
    were answered, [n, K], if they were logged; None for an entry of another kind.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError
    from tensorflow_serving.apis import prediction_log_pb2

    try:
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            log = prediction_log_pb2.PredictionLog.FromString(record).predict_log
            images = _images_in({k: tf.make_ndarray(v) for k, v in log.request.inputs.items()})
            answered = log.response.outputs.get(features.PROBABILITIES)
            if images is None:
                yield None
            else:
                yield images, tf.make_ndarray(answered) if answered is not None else None
    except (tf.errors.OpError, DecodeError) as error:
        raise RequestsError(
            f"{file} is no TFRecord of PredictionLog ({one_line(error)}), expected TensorFlow "
            f"Serving's request log, a folder of images, or a file {' or '.join(_TABLES)}"
        ) from None


def _images_in(inputs: dict[str, np.ndarray]) -> Iterable[Any] | None:
    import tensorflow as tf

    if features.PIXELS_INPUT in inputs:
        return list(inputs[features.PIXELS_INPUT])
    if features.IMAGE_BYTES_INPUT in inputs:
        return inputs[features.IMAGE_BYTES_INPUT].ravel().tolist()
    if features.EXAMPLES_INPUT in inputs:
        examples = inputs[features.EXAMPLES_INPUT].ravel().tolist()
        parsed = tf.io.parse_example(
            examples, {features.IMAGE: tf.io.FixedLenFeature([], tf.string)}
        )
        return list(parsed[features.IMAGE].numpy().tolist())
    return None


def _pixels(image: Any, channels: int) -> np.ndarray | None:
    """Returns an image of a request as [H, W, C] uint8; None if it is none."""
    if isinstance(image, np.ndarray):
        fits = image.dtype == np.uint8 and image.ndim == 3
        return image if fits else None
    try:
        with Image.open(io.BytesIO(image)) as opened:
            pixels = np.asarray(opened.convert("L" if channels == 1 else "RGB"))
    except Exception:  # Pillow raises errors of many kinds on damaged files
        return None
    return pixels.reshape(*pixels.shape[:2], channels)


def _from_table(file: Path, model: Model) -> Served:
    table = _read_table(file)
    columns = [f"{_PREFIX}{name}" for name in model.class_names]
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise RequestsError(
            f"{file} has no column {quoted(missing[0])}, expected one for each class: "
            f"{', '.join(columns)}"
        )
    probabilities = np.column_stack([_numbers(file, table, name) for name in columns])
    counts: Counter[Key] = Counter()
    for row, image in zip(probabilities, _image_columns(file, table), strict=True):
        counts.update(keys(row, image))
    summary = Summary.of(counts, len(columns))
    return Served(summary, _labelled(file, table, probabilities, model.class_names))


def _read_table(file: Path) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv, parquet

    try:
        if file.suffix.lower() == ".csv":
            options = csv.ConvertOptions(column_types={_LABEL: pa.string()})
            return csv.read_csv(str(file), convert_options=options)
        return parquet.read_table(str(file))
    except (pa.ArrowException, OSError) as error:
        raise RequestsError(f"cannot read the predictions {file}: {one_line(error)}") from None


def _numbers(file: Path, table: pa.Table, name: str) -> np.ndarray:
    """Returns a column as [N] float64; a value that is missing is NaN."""
    import pyarrow as pa

    try:
        numbers: np.ndarray = table.column(name).cast(pa.float64()).to_numpy()
    except pa.ArrowException:
        kind = table.column(name).type
        raise RequestsError(
            f"the column {quoted(name)} of {file} holds {kind}, expected numbers"
        ) from None
    return numbers


def _image_columns(file: Path, table: pa.Table) -> Iterator[tuple[float, str] | None]:
    names = [features.MEAN_INTENSITY, features.HEIGHT, features.WIDTH]
    if not set(names) <= set(table.column_names):
        yield from [None] * table.num_rows
        return
    columns = [_numbers(file, table, name) for name in names]
    if not all(np.isfinite(column).all() for column in columns):
        raise RequestsError(f"{file} lacks a value of {', '.join(names)}, expected one in each row")
    for intensity, height, width in zip(*(column.tolist() for column in columns), strict=True):
        yield intensity, size_of(int(height), int(width))


def _labelled(
    file: Path, table: pa.Table, probabilities: np.ndarray, class_names: Sequence[str]
) -> Labelled | None:
    if _LABEL not in table.column_names:
        return None
    labels = [None if one in (None, "") else str(one) for one in table[_LABEL].to_pylist()]
    if other := next((one for one in labels if one and one not in class_names), None):
        raise RequestsError(
            f"{file} has the label {quoted(other)}, expected one of {', '.join(class_names)}"
        )
    pairs = zip(probabilities.argmax(axis=1).tolist(), labels, strict=True)
    right = [class_names[at] == label for at, label in pairs if label]
    return Labelled(len(right), sum(right)) if right else None
