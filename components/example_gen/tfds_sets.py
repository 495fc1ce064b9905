"""The data source of tensorflow-datasets: sets of images, stored encoded, with one label.

The files of the prepared set are read directly, because `builder.as_dataset` parses and decodes row
by row: by batches MNIST takes 1.9 s of processor time instead of 4.6 s.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from components.example_gen import downloads
from components.example_gen.data_config import NO_FILES, OWN_TEST, DataConfig
from components.example_gen.data_error import DataError
from components.example_gen.image_set import TEST, TRAIN, DatasetInfo, ImageSet, Shard
from components.example_gen.opening import image_layout
from components.example_gen.seen_images import falls_on_test
from components.example_gen.sources import SOURCES, TFDS, DatasetSpec, path_hint, usages
from components.example_gen.stored_sizes import sizes_of
from components.example_gen.tfds_records import RecordReader
from trainer.host.files import read_pieces
from trainer.host.text import first_line, quoted, unknown

_log = logging.getLogger(__name__)


def open_set(spec: DatasetSpec, data: DataConfig, data_dir: str | None) -> ImageSet:
    """Finds a set, prepares it if necessary, and digests its files.

    The images are looked at where the set does not declare one size for all, or has no `test`.
    """
    builder = _find_builder(spec, data_dir)
    image_key, label_key = find_keys(builder.info, spec.text)  # before anything is downloaded
    if builder.is_prepared():
        _require_splits(builder, spec)
    else:
        _require_size(builder.info.features[image_key], data, spec)
        with downloads.prepare(builder, spec.text):
            builder = _find_builder(spec, data_dir)
            _require_splits(builder, spec)
    has_test = TEST in builder.info.splits
    splits = {TRAIN: builder.info.splits[TRAIN]}
    splits[TEST] = builder.info.splits[TEST if has_test else TRAIN]
    reader = RecordReader(
        {split: [Path(path) for path in splits[split].filepaths] for split in splits},
        (image_key, label_key),
        remedy=f"remove {builder.data_dir} to have it prepared again",
        cut=None if has_test else data.test_fraction,
    )
    files = [*reader.paths[TRAIN], *(reader.paths[TEST] if has_test else ())]
    info = DatasetInfo(
        spec=spec.text,
        name=_name_of(builder),
        fingerprint=_fingerprint(builder.info.full_name, files),
        image_shape=tuple(builder.info.features[image_key].shape),
        class_names=tuple(str(name) for name in builder.info.features[label_key].names),
        test_rows=splits[TEST].num_examples,
        data={**NO_FILES, **(OWN_TEST if has_test else {})},
    )
    shards = tuple(
        Shard(split, index, rows)
        for split, of_split in splits.items()
        for index, rows in enumerate(of_split.shard_lengths)
    )
    num_bytes = {split: of_split.num_bytes for split, of_split in splits.items()}
    image_set = ImageSet(info, shards, num_bytes, reader, reader.remedy)
    return _fitted(image_set, reader, builder.info.features[image_key], data)


def _fitted(image_set: ImageSet, reader: RecordReader, image: Any, data: DataConfig) -> ImageSet:
    """Adds sizes and channels, from the images where the features do not declare them; whether they
    are resized; and a cut of `test` from `train` if the set has none.
    """
    shape = tuple(image.shape)
    is_one_size = None not in shape
    is_png = image.encoding_format == "png" or (
        image.encoding_format is None and reader.starts_as_png(TRAIN)
    )
    sizes, channels, as_is = ((shape[:2],) * 3), shape[2], is_png
    if not is_one_size or reader.cut is not None:
        looked_at = [TRAIN] if reader.cut else [TRAIN, TEST]
        parts = {split: reader.look_at(image_set.shards_of(split)) for split in looked_at}
        seen = np.concatenate([part for of_split in parts.values() for part in of_split])
        sizes = sizes_of(seen)
        channels = shape[2] or (3 if seen["is_colour"].any() else 1)
        as_is = bool((seen["plain"] == channels).all())
        if reader.cut is not None:
            image_set = _cut(image_set, parts[TRAIN], reader.cut)
    image_shape, resize = image_layout(
        image_set.info.spec, data, sizes=sizes, channels=channels, as_is=as_is
    )
    info = dataclasses.replace(
        image_set.info,
        image_shape=image_shape,
        resize=resize,
        sizes=None if sizes[0] == sizes[2] else sizes,
    )
    return dataclasses.replace(
        image_set, info=info, read=dataclasses.replace(reader, is_png=not resize)
    )


def _cut(image_set: ImageSet, parts: Sequence[np.ndarray], fraction: float) -> ImageSet:
    """Makes shards of train and of test of the same files, whose [n] SEEN are given."""
    sides = [falls_on_test(part["digest"], fraction) for part in parts]
    rows = {
        TRAIN: [int((~side).sum()) for side in sides],
        TEST: [int(side.sum()) for side in sides],
    }
    return dataclasses.replace(
        image_set,
        info=dataclasses.replace(image_set.info, test_rows=sum(rows[TEST])),
        shards=tuple(
            Shard(split, index, count)
            for split, counts in rows.items()
            for index, count in enumerate(counts)
        ),
        num_bytes={
            split: image_set.num_bytes[TRAIN] * sum(counts) // image_set.rows(TRAIN)
            for split, counts in rows.items()
        },
    )


def find_name(spec: DatasetSpec, data_dir: str | None) -> str:
    """Returns the set's name with its configuration; the spec's name if the set cannot be found."""
    assert spec.name is not None
    if "/" in spec.name:
        return spec.name
    try:
        return _name_of(tfds.builder(spec.text, data_dir=data_dir, try_gcs=False))
    except Exception as error:  # the set's own code may raise anything
        _log.info("tensorflow-datasets cannot find %s: %r", spec.text, error)
        return spec.name


def _name_of(builder: tfds.core.DatasetBuilder) -> str:
    config = builder.builder_config
    return f"{builder.name}/{config.name}" if config else builder.name


def _find_builder(spec: DatasetSpec, data_dir: str | None) -> tfds.core.DatasetBuilder:
    try:
        return tfds.builder(spec.text, data_dir=data_dir, try_gcs=False)
    except tfds.core.DatasetNotFoundError as error:
        sources = [name for name in SOURCES if name != TFDS]
        known = [*sources, *tfds.list_builders(with_community_datasets=False)]
        name = str(spec.name).partition("/")[0]
        if hint := path_hint(spec.text):
            raise DataError(
                f"unknown dataset {quoted(spec.text)}: {hint}expected {usages()}"
            ) from error
        version = spec.text.partition(":")[2]
        if version and (here := _prepared_version(spec, data_dir)):
            raise DataError(
                f"dataset {quoted(spec.text)} cannot be loaded: version {version} is unknown; "
                f"expected {here}"
            ) from error
        raise DataError(unknown("dataset", name, known, see=f"expected {usages()}")) from error
    # tfds raises AssertionError for an unknown version and ValueError for an unknown config; the
    # set's own code, and damaged metadata of a prepared set, raise anything.
    except Exception as error:
        raise DataError(
            f"dataset {quoted(spec.text)} cannot be loaded: {_reason(spec, error)}"
        ) from error


def _prepared_version(spec: DatasetSpec, data_dir: str | None) -> str:
    """Returns the version in which a set without code was prepared; "" if there is no such set."""
    try:
        return str(tfds.builder(str(spec.name), data_dir=data_dir, try_gcs=False).version)
    except Exception:  # of damaged metadata anything
        return ""


def _reason(spec: DatasetSpec, error: Exception) -> str:
    name, _, config = str(spec.name).partition("/")
    version = spec.text.partition(":")[2]
    if isinstance(error, AssertionError | ValueError):
        configs = list(tfds.builder_cls(name).builder_configs)
        if config and config not in configs:
            some = f"one of {', '.join(configs[:12])}" if configs else "none: it has no configs"
            return unknown("config", config, configs, see=f"expected {some}")
    if isinstance(error, AssertionError) and version:
        versions = str(error).rpartition("only: ")[2].rstrip(".")
        return f"version {version} is unknown; expected {versions}"
    return first_line(error)


def _require_splits(builder: tfds.core.DatasetBuilder, spec: DatasetSpec) -> None:
    have = builder.info.splits
    if TRAIN not in have:
        raise DataError(
            f"dataset {quoted(spec.text)} has no split {TRAIN!r}, only "
            f"{', '.join(sorted(have)) or 'none'}; expected a set that was published with a "
            "train split"
        )
    for split in {TRAIN, TEST} & set(have):
        if not have[split].num_examples:
            raise DataError(
                f"dataset {quoted(spec.text)}: the {split} split is empty, expected at least one "
                "image"
            )


def _require_size(image: Any, data: DataConfig, spec: DatasetSpec) -> None:
    """Asks for the network's size before a set of differing ones is downloaded."""
    if None in image.shape[:2] and data.size is None:
        raise DataError(
            f"dataset {spec.text!r} has images of differing shapes (declared "
            f"{'x'.join('?' if size is None else str(size) for size in image.shape)}); choose the "
            "network's, such as --set data.image_size=64"
        )


def find_keys(info: tfds.core.DatasetInfo, dataset: str) -> tuple[str, str]:
    """Returns the keys of the image and the label of a set; raises DataError if it is unsuitable.

    They are the supervised keys of the set, or else those named "image" and "label", or else the
    only image and the only class label.
    """
    kinds = tfds.features
    features = dict(info.features.items()) if isinstance(info.features, kinds.FeaturesDict) else {}
    supervised = info.supervised_keys or (None, None)
    # A labelled image is a segmentation mask, not a picture.
    images = {
        key
        for key, feature in features.items()
        if isinstance(feature, kinds.Image) and not isinstance(feature, kinds.LabeledImage)
    }
    labels = {key for key, feature in features.items() if isinstance(feature, kinds.ClassLabel)}
    image_key = _pick(images, (supervised[0], "image"), features, dataset)
    label_key = _pick(labels, (supervised[1], "label"), features, dataset)
    _require_usable(features[image_key], dataset)
    classes = features[label_key].num_classes
    if classes is None or classes < 2:
        raise DataError(
            f"dataset {dataset!r}: label {label_key!r} has {classes or 'no'} classes, "
            "expected two or more"
        )
    return image_key, label_key


def _pick(
    keys: Set[str], preferred: tuple[Any, str], features: Mapping[str, Any], dataset: str
) -> str:
    for key in (*preferred, *(keys if len(keys) == 1 else ())):
        if key in keys:
            return str(key)
    have = ", ".join(f"{key} ({type(feature).__name__})" for key, feature in features.items())
    raise DataError(
        f"dataset {dataset!r} has {len(keys) or 'no'} {preferred[1]} "
        f"feature{'s' * (len(keys) > 1)} among {have or 'its features'}; expected a set with "
        "one image and one class label"
    )


def _require_usable(image: Any, dataset: str) -> None:
    if len(image.shape) != 3:
        raise DataError(
            f"dataset {dataset!r} has images of shape {tuple(image.shape)}, expected height, width "
            "and channels"
        )
    if np.dtype(image.np_dtype) != np.uint8:
        raise DataError(
            f"dataset {dataset!r} has images of {np.dtype(image.np_dtype).name}, expected uint8"
        )


def _fingerprint(full_name: str, paths: Sequence[Path]) -> str:
    with ThreadPoolExecutor() as pool:  # hashlib releases the interpreter's lock
        lines = pool.map(lambda path: f"{path.name} {_sha256(path)}", paths)
        return hashlib.sha256("\n".join([full_name, *lines]).encode()).hexdigest()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        for piece in read_pieces(path, max_bytes=None):  # a data set may be of any size
            digest.update(piece)
    except OSError as error:
        raise DataError(
            f"{path}: a file of the prepared data set cannot be read ({error.strerror or error}); "
            f"remove {path.parent} to have it prepared again"
        ) from error
    return digest.hexdigest()
