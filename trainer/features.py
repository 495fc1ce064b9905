"""The names and shapes on which examples, Transform, the model and its signatures agree."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

# Features of a raw tf.Example, as ExampleGen writes it.
IMAGE = "image"  # the bytes of an image file: PNG, or any of the formats if the model resizes
LABEL = "label"  # int64, 0 .. num_classes - 1
HEIGHT = "height"  # int64, pixels, of the image as stored
WIDTH = "width"  # int64, pixels, of the image as stored
CHANNELS = "channels"  # int64, of the image as stored
MEAN_INTENSITY = "mean_intensity"  # float, 0 (black) .. 1 (white), of what the network sees

# Features that Transform makes of them.
NORMALIZED_IMAGE = "normalized_image"  # [B, H, W, C] float32, zero mean and unit variance on train
ONE_HOT_LABEL = "one_hot_label"  # [B, num_classes] float32

# Signatures of the exported model, their inputs and outputs.
SERVING_DEFAULT = "serving_default"  # [B] bytes of image files, as `IMAGE`
PREDICT_PIXELS = "predict_pixels"  # [B, H, W, C] uint8, of any H and W if the model resizes
SERVING_EXAMPLES = "serving_examples"  # [B] serialized tf.Example
TRANSFORM_FEATURES = "transform_features"  # [B] serialized tf.Example
IMAGE_BYTES_INPUT = "image_bytes"
PIXELS_INPUT = "pixels"
EXAMPLES_INPUT = "examples"
PROBABILITIES = "probabilities"  # [B, num_classes] float32, rows sum to 1
CLASS_NAME = "class_name"  # [B] string
CLASS_INDEX = "class_index"  # [B] int64


# Of an image as stored, since a file of a few kB may declare any number: the bound above which
# Pillow warns, 256 MiB of red, green and blue.
MAX_PIXELS = 89_478_485
# Each scan of a JPEG is a pass over all pixels: every so many count as another image of its size.
SCANS = 16
SCAN = b"\xff\xda"  # the marker of a scan, which is nowhere else in the pixels

# How an image of another size is fitted into the network's.
RESIZES = ("pad", "stretch", "crop")


@dataclasses.dataclass(frozen=True)
class ImageSpec:
    """What the network sees of the images.

    Attributes:
      image_shape: (height, width, channels).
      class_names: in the order of the labels.
      resize: one of `RESIZES`, if images of any size are decoded and resized to that shape; "" if
        each is a PNG of that shape.
    """

    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    resize: str = ""

    def __post_init__(self) -> None:
        if len(self.image_shape) != 3 or min(self.image_shape) < 1:
            raise ValueError(
                f"image_shape is {self.image_shape}, expected (height, width, channels), each >= 1"
            )
        if len(self.class_names) < 2:
            raise ValueError(f"class_names holds {len(self.class_names)} names, expected 2 or more")
        if self.resize and self.resize not in RESIZES:
            raise ValueError(f"resize is {self.resize!r}, expected one of {', '.join(RESIZES)}")

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def require_classes(self, columns: int) -> None:
        """Refuses one-hot labels of another number of classes, with that many columns."""
        if columns != self.num_classes:
            raise ValueError(
                f"class_names holds {self.num_classes} names, expected {columns}, one for each "
                "column of the labels: give training the ImageSpec that Transform had"
            )

    def to_config(self) -> dict[str, Any]:
        """Returns JSON-able values, for TFX's `custom_config`."""
        return {
            "image_shape": list(self.image_shape),
            "class_names": list(self.class_names),
            "resize": self.resize,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ImageSpec:
        height, width, channels = config["image_shape"]
        return cls(
            image_shape=(int(height), int(width), int(channels)),
            class_names=tuple(config["class_names"]),
            resize=config.get("resize", ""),
        )
