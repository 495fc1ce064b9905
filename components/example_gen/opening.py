"""A data set is opened by its source, and given the shape that the network sees."""

from __future__ import annotations

from components.example_gen.data_config import DataConfig
from components.example_gen.image_set import ImageSet
from components.example_gen.layout import with_layout
from components.example_gen.sources import SOURCES, parse_dataset

_AS_STORED = DataConfig()


def open_dataset(text: str, data: DataConfig = _AS_STORED, *, data_dir: str | None) -> ImageSet:
    """Finds and checks the data set of a `--dataset`, and prepares it if necessary.

    Raises:
      DataError: the set is unknown, unsuitable, damaged or out of reach; nothing was written.
    """
    spec = parse_dataset(text)
    return with_layout(SOURCES[spec.source].open(spec, data, data_dir), data)
