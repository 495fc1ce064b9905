"""The section `data` of the configuration: how the images of a source become those of the network.

DataConfig(image_size="48x64").size     # (48, 64)
"""

from __future__ import annotations

import dataclasses
import re

from trainer.features import RESIZES
from trainer.host.fields import check, setting
from trainer.host.text import quoted

_MAX_SIDE = 4096
_SIZE = re.compile(r"(\d{1,4})(?:x(\d{1,4}))?", re.ASCII)


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """What the network is given of the images; each field describes itself."""

    image_size: str | None = setting(
        None,
        "height and width of the network's images, such as 48x64 if they are wider than high, or "
        "64 for 64x64; none takes the size of a set whose images all have one",
    )
    channels: int = setting(
        0,
        "channels of the network's images: 1 for grey, 3 for colour; 0 takes those of the set, 3 "
        "if any file is stored in colour",
        ge=0,
        le=3,
    )
    resize: str = setting(
        "pad",
        "how an image of another size is fitted: the whole image on black, distorted, or its "
        "middle part",
        choices=RESIZES,
    )
    test_fraction: float = setting(
        0.15, "share of the images that becomes test, if the set has no test split", gt=0, lt=1
    )
    skip_unreadable: int = setting(
        0, "number of images that may be left out because they cannot be read", ge=0
    )

    def __post_init__(self) -> None:
        check(self, "data")
        if self.channels == 2:
            raise ValueError("data.channels is 2, expected 1 for grey, 3 for colour, or 0")
        _ = self.size

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of `image_size`; raises ValueError."""
        if self.image_size is None:
            return None
        match = _SIZE.fullmatch(self.image_size.strip())
        sides = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not all(1 <= side <= _MAX_SIDE for side in sides):
            raise ValueError(
                f"data.image_size is {quoted(self.image_size)}, expected height and width from 1 "
                f"to {_MAX_SIDE}, such as 48x64, or one number for both"
            )
        return sides


# What a source writes into `DatasetInfo.data` in place of values that change nothing in its sets,
# so that they do not make the examples anew.
OWN_TEST = {"test_fraction": DataConfig.test_fraction}
NO_FILES = {"skip_unreadable": DataConfig.skip_unreadable}
