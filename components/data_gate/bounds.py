"""The bounds of the data gate, as they are configured and as they hold for one data set."""

from __future__ import annotations

import dataclasses

from trainer.host.fields import check, fraction, setting


@dataclasses.dataclass(frozen=True)
class DataGateConfig:
    """The bounds of the data gate: the keys `data_gate.*`; each field describes itself.

    None stands for the data set's own value (`pipeline.dataset_defaults.bounds_for`).
    """

    min_mean_intensity: float | None = fraction(
        None,
        "mean intensity below which an image is called blank; none takes the data set's own bound",
    )
    max_mean_intensity: float | None = fraction(
        None,
        "mean intensity above which an image is called inverted; none takes the data set's own "
        "bound",
    )
    max_class_drift: float = fraction(
        0.05,
        "largest change of any class's share of train against the last released run (L-infinity)",
    )
    max_intensity_drift: float = fraction(
        0.1,
        "largest distance (Kolmogorov-Smirnov) between train and that of the last released run, of "
        "the distributions of mean intensity (of an image, of each of its 16 regions) and contrast",
    )
    max_size_drift: float = fraction(
        0.5,
        "of a set that is resized: largest distance (Kolmogorov-Smirnov) between train and that of "
        "the last released run, of the distributions of the images' sizes",
    )
    max_train_test_overlap: float = fraction(
        0.01,
        "largest fraction of the test images that may also be in train or eval, pixel by pixel or "
        "nearly",
    )
    max_test_duplicates: float = fraction(
        0.01,
        "largest fraction of the test images that may repeat another test image, pixel by pixel",
    )
    max_label_noise: float | None = fraction(
        None,
        "largest share of wrong labels in train and eval, of all and of each class; none takes "
        "the data set's own bound",
    )
    max_size_factor: float = setting(
        16.0,
        "how many times larger or smaller than the median an image may be along a side, in a set "
        "that is resized",
        ge=1,
    )
    max_grey: float = fraction(
        0.1, "largest fraction of images without colour in a coloured set that is resized"
    )
    max_size_leak: float = fraction(
        0.5,
        "how well the size and the colour of images alone may tell one class from the others, in a "
        "set that is resized: 0 is chance, 1 is always",
    )

    def __post_init__(self) -> None:
        check(self, "data_gate", DataGateConfig)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataBounds(DataGateConfig):
    """A `DataGateConfig` for one data set, with every value known."""

    # A field of its own each, or the None of `DataGateConfig` would stay its default.
    min_mean_intensity: float = dataclasses.field()
    max_mean_intensity: float = dataclasses.field()
    max_label_noise: float = dataclasses.field()
