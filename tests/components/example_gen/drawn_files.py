"""A data set of image files of every format, which are drawn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from components.example_gen.data_config import DataConfig
from components.example_gen.image_set import DatasetInfo, ImageSet, Shard, SourceRows
from components.example_gen.opening import image_layout, with_layout
from tests.trainer import image_files

TRAIN_ROWS = 64


def images_of(split: str) -> list[bytes]:
    """For training ones of random sizes, for test one of each format."""
    if split == "test":
        return list(image_files.all_files().values())
    rng = np.random.default_rng(3)
    sides = rng.integers(9, 60, (TRAIN_ROWS, 2))
    return [
        image_files.encoded(
            image_files.picture(int(width), int(height), seed=row), "JPEG" if row % 2 else "PNG"
        )
        for row, (height, width) in enumerate(sides)
    ]


def drawn(data: DataConfig) -> ImageSet:
    shape, resize = image_layout(
        "drawn", data, sizes=((9, 9), (30, 30), (60, 60)), channels=3, as_is=False
    )
    test_rows = len(images_of("test"))
    info = DatasetInfo(
        spec="drawn",
        name="drawn",
        fingerprint="0" * 64,
        image_shape=shape,
        class_names=("a", "b"),
        test_rows=test_rows,
        resize=resize,
        extra={"weight": "float32", "year": "int64", "camera": "str"},
        sizes=((9, 9), (30, 30), (60, 60)),
    )
    image_set = ImageSet(
        info,
        shards=(Shard("train", 0, TRAIN_ROWS), Shard("test", 0, test_rows)),
        num_bytes={"train": 1000, "test": 1000},
        read=read,
        skipped=2,
        ignored=3,
    )
    return with_layout(image_set, data)


def read(shard: Shard) -> Iterator[SourceRows]:
    images = images_of(shard.split)
    for start in range(0, len(images), 10):
        some = np.array(images[start : start + 10], object)
        numbers = start + np.arange(len(some))
        yield SourceRows(
            labels=numbers % 2,
            images=some,
            extra={
                "weight": numbers / 2,
                "year": 2000 + numbers,
                "camera": np.array([f"no. {number}" for number in numbers]),
            },
        )
