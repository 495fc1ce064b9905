"""Small tensorflow-datasets sets, defined here so that the `tfds` source is tested offline."""

import io
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image


class TinyBuilder(tfds.core.GeneratorBasedBuilder):
    """Two coloured classes; a subclass says what differs."""

    VERSION = tfds.core.Version("1.2.0")
    FEATURES: ClassVar[dict[str, Any]] = {
        "image": tfds.features.Image(shape=(4, 5, 3), encoding_format="png"),
        "label": tfds.features.ClassLabel(names=["day", "night"]),
        "id": tfds.features.Text(),
    }
    ROWS: ClassVar[dict[str, int]] = {"train": 40, "test": 10}

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(self.FEATURES)
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager
        return {split: self._generate_examples(split) for split in self.ROWS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        rng = np.random.default_rng(len(split))
        for row in range(self.ROWS[split]):
            image = rng.integers(0, 256, (4, 5, 3), np.uint8)
            yield row, self.example(split, row, image)

    def example(self, split: str, row: int, image: np.ndarray) -> dict[str, Any]:
        return {"image": image, "label": row % 2, "id": f"{split}{row}"}


class TinyDays(TinyBuilder):
    """A good set."""


class TinyUnlabelled(TinyBuilder):
    """Its test labels are unknown, which tensorflow-datasets writes as -1."""

    def example(self, split: str, row: int, image: np.ndarray) -> dict[str, Any]:
        label = -1 if split == "test" else row % 2
        return {"image": image, "label": label, "id": ""}


class TinyUneven(TinyBuilder):
    """Stored images that are not what the features declare."""

    def example(self, split: str, row: int, image: np.ndarray) -> dict[str, Any]:
        if (split, row) == ("test", 3):
            image = image[:, :4]
        return {"image": tf.io.encode_png(image).numpy(), "label": row % 2, "id": ""}


class TinyJpegs(TinyBuilder):
    """Stored as JPEG although the features do not say so."""

    FEATURES: ClassVar[dict[str, Any]] = {
        **TinyBuilder.FEATURES,
        "image": tfds.features.Image(shape=(4, 5, 3)),
    }

    def example(self, split: str, row: int, image: np.ndarray) -> dict[str, Any]:
        return {"image": tf.io.encode_jpeg(image).numpy(), "label": row % 2, "id": ""}


class TinyJpeg(TinyJpegs):
    """Its test images are stored as JPEG, and those of train as PNG."""

    def example(self, split: str, row: int, image: np.ndarray) -> dict[str, Any]:
        if split == "test":
            return super().example(split, row, image)
        return {"image": image, "label": row % 2, "id": ""}


class TinyOneClass(TinyBuilder):
    """No night in test."""

    def example(self, split: str, row: int, image: np.ndarray) -> dict[str, Any]:
        return {"image": image, "label": 0 if split == "test" else row % 2, "id": ""}


class TinyTrainOnly(TinyBuilder):
    """No test split."""

    ROWS: ClassVar[dict[str, int]] = {"train": 40}


class TinyTestOnly(TinyBuilder):
    """No training split."""

    ROWS: ClassVar[dict[str, int]] = {"test": 40}


class TinyPhotos(TinyBuilder):
    """JPEG of widths 6 to 9 and heights 4 to 11, in the test split 5 to 12."""

    FEATURES: ClassVar[dict[str, Any]] = {
        **TinyBuilder.FEATURES,
        "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
    }

    def example(self, split: str, row: int, image: np.ndarray) -> dict[str, Any]:
        image = np.resize(image, ((split == "test") + 4 + row % 8, 6 + row % 4, 3))
        return {"image": image, "label": row % 2, "id": ""}


class TinyBitmaps(TinyBuilder):
    """Grey BMP of 8 bits a pixel, of heights 3 and 4, of which nothing is declared.

    The bytes of one are others, if a test says so.
    """

    FEATURES: ClassVar[dict[str, Any]] = {
        **TinyBuilder.FEATURES,
        "image": tfds.features.Image(shape=(None, None, None)),
    }
    instead: ClassVar[bytes] = b""

    def example(self, split: str, row: int, image: np.ndarray) -> dict[str, Any]:
        content = io.BytesIO()
        Image.fromarray(image[: 4 - row % 2, :, 0]).save(content, "BMP")
        stored = self.instead if (split, row) == ("train", 9) else b""
        return {"image": stored or content.getvalue(), "label": row % 2, "id": ""}


class TinyBroken(TinyBuilder):
    """Its code fails while it prepares; a test says how."""

    error: ClassVar[Exception]

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager
        raise self.error


class TinyRemote(TinyBuilder):
    """Needs a download; a test sets the address."""

    url: ClassVar[str]
    url_infos: ClassVar[dict[str, Any]] = {}

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        dl_manager.download(self.url)
        return super()._split_generators(dl_manager)


class TinyRaced(TinyBuilder):
    """Another process is first: `meanwhile` happens while this one prepares."""

    meanwhile: ClassVar[Callable[[], None]]

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        type(self).meanwhile()
        return super()._split_generators(dl_manager)
