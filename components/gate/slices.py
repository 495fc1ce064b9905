"""Slices of the examples by one of their features: by bands of a number, or by values.

"mean_intensity:0.1,0.15" makes three, named "mean_intensity<0.1", "0.1<=mean_intensity<0.15" and
"0.15<=mean_intensity". "camera=front,rear" makes "camera=front", "camera=rear" and, of all other
values, "camera=(other)".
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING, ClassVar

from trainer.host.text import quoted

if TYPE_CHECKING:
    import numpy as np

_OTHER = "(other)"


@dataclasses.dataclass(frozen=True)
class Bands:
    """A feature with one number in each example, cut into half-open bands.

    The edges are finite and rise; a value on an edge lies in the band above it.
    """

    wanted: ClassVar[str] = "one number in each example"

    feature: str
    edges: tuple[float, ...]

    def __post_init__(self) -> None:
        rising = all(low < high for low, high in zip(self.edges, self.edges[1:], strict=False))
        if not (self.feature and self.edges and rising and all(map(math.isfinite, self.edges))):
            raise _unfit(str(self))

    @classmethod
    def parse(cls, text: str) -> Bands:
        """Reads "feature:edge,edge,...", the form that `str` writes; a ValueError has one line."""
        feature, _, edges = text.partition(":")
        try:
            numbers = tuple(float(edge) for edge in edges.split(","))
        except ValueError:
            raise _unfit(text) from None
        return cls(feature.strip(), numbers)

    def __str__(self) -> str:
        return f"{self.feature}:{','.join(map(_text, self.edges))}"

    @staticmethod
    def takes(kind: str) -> bool:
        """Tells whether features of a kind of `DatasetInfo.features` can be cut."""
        return kind != "str"

    @property
    def names(self) -> tuple[str, ...]:
        edges = [_text(edge) for edge in self.edges]
        inner = itertools.pairwise(edges)
        return (
            f"{self.feature}<{edges[0]}",
            *(f"{low}<={self.feature}<{high}" for low, high in inner),
            f"{edges[-1]}<={self.feature}",
        )

    @property
    def named(self) -> tuple[str, ...]:
        """The slices that the user named one by one, in which examples are expected."""
        return ()

    def places(self, values: np.ndarray) -> np.ndarray:
        """The number of the band, 0 to len(edges), in which each of [N] numbers lies, [N] int64.

        Edges are taken in the precision of the values: a float32 feature holds 36.6 as 36.599998,
        which lies on the edge 36.6.
        """
        import numpy as np

        precision = values.dtype if values.dtype.kind == "f" else float
        return np.searchsorted(np.array(self.edges, precision), values, side="right")


@dataclasses.dataclass(frozen=True)
class Values:
    """A feature with one text or whole number in each example, cut by some of its values.

    All other values make one slice more, so that each example is in one.
    """

    wanted: ClassVar[str] = "one text or whole number in each example"

    feature: str
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        different = len(set(self.values)) == len(self.values)
        if not (self.feature and different and all(self.values) and _OTHER not in self.values):
            raise _unfit(str(self))

    @classmethod
    def parse(cls, text: str) -> Values:
        """Reads "feature=value,value,...", as `str` writes it; a ValueError has one line."""
        feature, _, values = text.partition("=")
        return cls(feature.strip(), tuple(value.strip() for value in values.split(",")))

    def __str__(self) -> str:
        return f"{self.feature}={','.join(self.values)}"

    @staticmethod
    def takes(kind: str) -> bool:
        """See `Bands.takes`."""
        return kind != "float32"

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.named, f"{self.feature}={_OTHER}")

    @property
    def named(self) -> tuple[str, ...]:
        """See `Bands.named`."""
        return tuple(f"{self.feature}={value}" for value in self.values)

    def places(self, values: np.ndarray) -> np.ndarray:
        """The place of each of [N] values, bytes in a tf.Example, or len(values); [N] int64."""
        import numpy as np

        known = {value: place for place, value in enumerate(self.values)}
        texts = (one.decode() if isinstance(one, bytes) else str(one) for one in values.tolist())
        return np.array([known.get(text, len(known)) for text in texts], np.int64)


Slices = Bands | Values


def parse(text: str) -> Slices:
    """Reads either; a ValueError has one line."""
    return (Values if "=" in text else Bands).parse(text)


def _unfit(text: str) -> ValueError:
    return ValueError(
        f"a slice is {quoted(text)}, expected feature:edge,edge,... with rising finite edges, such "
        "as 'mean_intensity:0.1,0.15', or feature=value,value,... such as 'camera=front,rear'"
    )


def _text(number: float) -> str:
    """With all digits, so that the number can be read back exactly."""
    return repr(number).removesuffix(".0")
