"""The summary of a set of examples, which ExampleGen records on its artifact and the gates read."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from components.example_gen.image_set import Sizes
from trainer.features import ImageSpec

PROPERTY = "dataset"  # the artifact's custom property
LOOK_BINS = 16


@dataclasses.dataclass(frozen=True)
class SplitSummary:
    """The size and the content of one split.

    Attributes:
      class_counts: in the order of the labels.
      digest: hexadecimal, see `example_facts.digest_of`.
      mean_intensity: mean over all pixels, 0 (black) to 1 (white).
      sizes: of the images as stored, see `DatasetInfo.sizes`; None if all have the network's size.
      grey: the number of images without colour; None where the network sees no colour.
      intensities: images by their mean intensity, in the equal bins of `monitoring.counts`; empty
        in what was recorded before there were any.
      regions: for each of 16 regions, see `example_facts.region_means`, the images by the mean
        intensity of that region, in `LOOK_BINS` equal bins of 0..1; empty likewise.
      contrasts: images by the standard deviation of their pixels, in as many bins of 0..0.5; empty
        likewise.
      size_counts: of the images as stored, see `stored_sizes.size_counts`; empty likewise, or if
        all have the size that the network sees.
    """

    rows: int
    class_counts: tuple[int, ...]
    digest: str
    mean_intensity: float
    sizes: Sizes | None = None
    grey: int | None = None
    intensities: tuple[int, ...] = ()
    regions: tuple[tuple[int, ...], ...] = ()
    contrasts: tuple[int, ...] = ()
    size_counts: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Overlap:
    """Images that occur more than once, pixel by pixel.

    Attributes:
      train_test: the number of test images that train or eval holds too.
      examples: hex hashes of up to five of these.
      within_test: the number of test images that only repeat another one.
    """

    train_test: int
    examples: tuple[str, ...]
    within_test: int = 0


@dataclasses.dataclass(frozen=True)
class ExamplesSummary:
    """The data set of a run: what `DatasetInfo` says of it, its three splits, and their overlap.

    `skipped` and `ignored` are those of `ImageSet`. `size_tells` has a value for each class, see
    `stored_sizes.size_tells`; it is empty if all images have the network's size.
    """

    name: str
    fingerprint: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    splits: Mapping[str, SplitSummary]
    overlap: Overlap
    resize: str = ""
    extra: Mapping[str, str] = dataclasses.field(default_factory=dict)
    skipped: int = 0
    ignored: int = 0
    size_tells: tuple[float, ...] = ()

    @property
    def image_spec(self) -> ImageSpec:
        return ImageSpec(self.image_shape, self.class_names, self.resize)

    def to_json(self) -> str:
        """Returns one line, which is the same for equal values."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ExamplesSummary:
        """Reads what `to_json` gave, or less of what has a default; raises ValueError."""
        return TypeAdapter(cls).validate_json(text)


def read(artifact: Any) -> ExamplesSummary:
    """Reads the summary from an artifact; raises ValueError if ExampleGen did not make that."""
    text = artifact.get_string_custom_property(PROPERTY)
    if not text:
        raise ValueError(
            f"the examples in {artifact.uri} have no custom property {PROPERTY!r}, "
            "expected those of ImageExampleGen"
        )
    return ExamplesSummary.from_json(text)


def write(artifact: Any, summary: ExamplesSummary) -> None:
    """Records the summary on an Examples artifact."""
    artifact.set_string_custom_property(PROPERTY, summary.to_json())
