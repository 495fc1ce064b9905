"""Writes a data set held in memory as a prepared tensorflow-datasets builder.

Synopsis::

    builder = prepared(Path("cache"), "mnist", fingerprint, lambda: read_directory(Path("mnist")))
    builder.info.splits["train"].num_examples     # 60000
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.registered import skip_registration

from components.example_gen.arrays import ImageArrays, Split
from components.example_gen.errors import DataError
from components.example_gen.scratch import remove_abandoned, scratch_in

IMAGE_KEY = "image"
LABEL_KEY = "label"
FINGERPRINT_KEY = "source_fingerprint"  # in the builder's metadata.json

_VERSION = "1.0.0"  # of the layout that this module writes; a change makes all caches anew
_SHARDS = 8  # so that reading is parallel on machines of today; small splits have fewer
_MIN_ROWS_PER_SHARD = 256
_ENCODE_BATCH = 1000  # images per PNG encoding call: 70,000 of MNIST's take 1.1 s
_STAGING_PREFIX = ".preparing-"

_log = logging.getLogger(__name__)


class _ArraysBuilder(  # type: ignore[call-arg]  # mypy does not follow tfds
    tfds.core.GeneratorBasedBuilder, skip_registration=True
):
    """Writes `arrays`; named and filled by `_builder_of`."""

    VERSION = tfds.core.Version(_VERSION)
    arrays: ImageArrays

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            IMAGE_KEY: tfds.features.Image(shape=self.arrays.image_shape, encoding_format="png"),
            LABEL_KEY: tfds.features.ClassLabel(names=list(self.arrays.class_names)),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=(IMAGE_KEY, LABEL_KEY),
            metadata=tfds.core.MetadataDict({FINGERPRINT_KEY: self.arrays.fingerprint}),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        del dl_manager  # nothing to download
        return {name: self._generate_examples(split) for name, split in self.arrays.splits.items()}

    def _generate_examples(self, split: Split) -> Iterator[tuple[int, dict[str, Any]]]:
        for start in range(0, len(split.labels), _ENCODE_BATCH):
            images = split.images[start : start + _ENCODE_BATCH]  # [n, H, W, C] uint8
            for offset, png in enumerate(tf.io.encode_png(images).numpy()):
                row = start + offset
                yield row, {IMAGE_KEY: png, LABEL_KEY: int(split.labels[row])}


def prepared(
    cache_dir: Path, name: str, fingerprint: str, read: Callable[[], ImageArrays]
) -> tfds.core.DatasetBuilder:
    """The prepared builder of this content, made below `cache_dir` when it is not there yet.

    Args:
      cache_dir: made when needed. The directory below it bears the layout's version and the
        fingerprint, so that neither new code nor changed data meets an old preparation.
      name: of the data set.
      fingerprint: of the content that `read` gives.
      read: reads and checks the data; called only when it must be prepared.

    Raises:
      DataError: it cannot be written there, or what was prepared is damaged.
    """
    remove_abandoned(cache_dir, _STAGING_PREFIX)
    home = cache_dir / f"{name}-{_VERSION}-{fingerprint[:32]}"
    if not home.is_dir():
        _prepare(home, read())
    try:
        return tfds.builder_from_directory(home / name / _VERSION)
    except Exception as error:  # tfds has no error of its own for metadata that it cannot read
        raise DataError(
            f"{home}: the prepared data set cannot be read ({type(error).__name__}: {error}); "
            "remove it to have it prepared again"
        ) from error


def _prepare(home: Path, arrays: ImageArrays) -> None:
    """Writes into a hidden directory, then renames: a killed run leaves nothing half-done."""
    with contextlib.ExitStack() as stack:
        try:
            home.parent.mkdir(parents=True, exist_ok=True)
            staging = stack.enter_context(scratch_in(home.parent, _STAGING_PREFIX))
        except OSError as error:
            raise DataError(
                f"{home.parent}: the data cannot be prepared there ({error.strerror or error}), "
                "expected a directory that can be written: choose another one"
            ) from error
        _log.info("Preparing %s in %s", arrays.name, home)
        with quiet_tfds():
            _builder_of(arrays, staging).download_and_prepare(download_config=_config(arrays))
        shutil.rmtree(staging / "downloads", ignore_errors=True)  # tfds makes an empty one
        _publish(staging, home)


def _publish(staging: Path, home: Path) -> None:
    try:
        os.rename(staging, home)
    except OSError:
        if not home.is_dir():  # else another run has prepared the same content meanwhile
            raise


def _builder_of(arrays: ImageArrays, data_dir: Path) -> tfds.core.DatasetBuilder:
    """A builder class of its own per set: tensorflow-datasets keeps the name on the class."""
    members = {"name": arrays.name, "arrays": arrays, "__module__": __name__}
    with skip_registration():
        named = type("NamedArraysBuilder", (_ArraysBuilder,), members)
    return named(data_dir=data_dir)


def _config(arrays: ImageArrays) -> tfds.download.DownloadConfig:
    smallest = min(len(split.labels) for split in arrays.splits.values())
    shards = max(1, min(_SHARDS, smallest // _MIN_ROWS_PER_SHARD))
    return tfds.download.DownloadConfig(num_shards=shards, try_download_gcs=False)


@contextlib.contextmanager
def quiet_tfds() -> Iterator[None]:
    """Keeps tensorflow-datasets from printing on stdout, where the CLI prints its one object."""
    tfds.disable_progress_bar()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield
