"""A data set is opened by its source, and given the shape that the network sees."""

from __future__ import annotations

import dataclasses

from components.example_gen.data_config import DataConfig
from components.example_gen.data_error import DataError
from components.example_gen.image_set import TEST, TRAIN, ImageSet, Sizes
from components.example_gen.sources import SOURCES, parse_dataset

_AS_STORED = {name: getattr(DataConfig, name) for name in ("image_size", "channels", "resize")}


def open_dataset(text: str, data: DataConfig = DataConfig(), *, data_dir: str | None) -> ImageSet:
    """Finds and checks the data set of a `--dataset`, and prepares it if necessary.

    Raises:
      DataError: the set is unknown, unsuitable, damaged or out of reach; nothing was written.
    """
    spec = parse_dataset(text)
    image_set = SOURCES[spec.source].open(spec, data, data_dir)
    _require_declared(image_set)
    return with_layout(image_set, data)


def _require_declared(image_set: ImageSet) -> None:
    """Checks what a source, as of a plugin, declares, and that its shards are the same."""
    info = image_set.info
    try:
        _ = info.image_spec
    except ValueError as error:
        raise DataError(f"dataset {info.spec!r} cannot be used: {error}") from None
    for shard in image_set.shards:
        if shard.split not in (TRAIN, TEST):
            raise DataError(
                f"dataset {info.spec!r} has {shard.place()}, expected {TRAIN!r} or {TEST!r}"
            )
    if image_set.rows(TEST) != info.test_rows:
        raise DataError(
            f"dataset {info.spec!r} has shards of {image_set.rows(TEST):,} test images, expected "
            f"the {info.test_rows:,} that it declares"
        )


def image_layout(
    spec: str, data: DataConfig, *, sizes: Sizes, channels: int, as_is: bool
) -> tuple[tuple[int, int, int], str]:
    """Returns `image_shape` and `resize` of a data set, see `ImageSpec`.

    Args:
      spec: the text of `--dataset`, for messages.
      sizes: smallest, median and largest (height, width) of the images as stored, ordered by number
        of pixels, then by height: so the first and the last are the same only if all are.
      channels: 3 if any file is stored in colour, otherwise 1.
      as_is: whether all images are PNG of at most 8 bits with `channels` channels, which need no
        step if they have one size and none is asked for.

    Raises DataError if the images have differing sizes and no size was chosen: the input of a
    served model must not change when the data grow.
    """
    own = sizes[0] if sizes[0] == sizes[2] else None
    size = data.size or own
    if size is None:
        texts = [f"{height}x{width}" for height, width in sizes]
        raise DataError(
            f"dataset {spec!r} has images of differing sizes: {texts[0]} the smallest, {texts[1]} "
            f"the median, {texts[2]} the largest (height x width); choose the network's, such "
            "as --set data.image_size=64"
        )
    if as_is and not data.size and data.channels in (0, channels):
        return (*size, channels), ""
    return (*size, data.channels or (3 if channels > 2 else 1)), data.resize


def with_layout(image_set: ImageSet, data: DataConfig) -> ImageSet:
    """Completes what a source says of its images by what was asked for.

    Of a source that does not resize, all images are PNG of `image_shape`.
    """
    info = image_set.info
    info = dataclasses.replace(info, data={**dataclasses.asdict(data), **info.data})
    if not info.resize:
        height, width, channels = info.image_shape
        size = (height, width)
        shape, resize = image_layout(
            info.spec, data, sizes=(size, size, size), channels=channels, as_is=True
        )
        info = dataclasses.replace(info, image_shape=shape, resize=resize)
    if not info.resize:  # whatever was asked for is what is stored
        info = dataclasses.replace(info, data={**info.data, **_AS_STORED})
    return dataclasses.replace(image_set, info=info)
