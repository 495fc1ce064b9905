"""How a data set is called: by that name go its thresholds, its artifacts and its releases.

    name_of(parse_dataset("emnist"), data_dir=None)       # "emnist/byclass", its default config
    name_of(parse_dataset("idx:digits"), data_dir=None)   # "idx_digits_0a1b2c3d", or "mnist"

`describe` gives the same name for the builder that a run reads. TensorFlow is not imported.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from components.example_gen import idx
from components.example_gen.spec import DatasetSpec, full_name

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

_log = logging.getLogger(__name__)


def name_of(spec: DatasetSpec, *, data_dir: str | None) -> str:
    """The name of a data set that need not be prepared.

    IDX files are read, since their content decides. A set that tensorflow-datasets cannot find
    keeps the name that it was given: whoever reads it is told why it cannot be found.

    Args:
      spec: the set.
      data_dir: tensorflow-datasets' own directory, None for its default.

    Raises:
      DataError: the IDX files are not there or damaged.
    """
    if spec.path is not None:
        return idx.read_directory(spec.path).name
    if spec.kind == "sample" or spec.config is not None:
        return spec.full_name
    import tensorflow_datasets as tfds  # takes more than a second

    try:
        return name_of_builder(tfds.builder(spec.text, data_dir=data_dir, try_gcs=False))
    except Exception as error:  # the set's own code raises anything, see `sources`
        _log.info("tensorflow-datasets cannot find %s: %r", spec.text, error)
        return spec.full_name


def name_of_builder(builder: tfds.core.DatasetBuilder) -> str:
    """The name of a set, with the configuration that it has been given or has by default."""
    config = builder.builder_config
    return full_name(builder.name, config.name if config else None)
