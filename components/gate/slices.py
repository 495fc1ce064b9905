"""Slices by bands of a number: "mean_intensity:0.1,0.15" makes three.

They are named "mean_intensity<0.1", "0.1<=mean_intensity<0.15" and "0.15<=mean_intensity".
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import math

from trainer.host.text import quoted


@dataclasses.dataclass(frozen=True)
class Bands:
    """A feature with one number in each example, cut into half-open bands.

    The edges are finite and rise; a value on an edge lies in the band above it.
    """

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

    @property
    def names(self) -> tuple[str, ...]:
        edges = [_text(edge) for edge in self.edges]
        inner = itertools.pairwise(edges)
        return (
            f"{self.feature}<{edges[0]}",
            *(f"{low}<={self.feature}<{high}" for low, high in inner),
            f"{edges[-1]}<={self.feature}",
        )

    def index(self, value: float) -> int:
        """The number of the band in which a value lies, 0 to len(edges)."""
        return bisect.bisect_right(self.edges, value)


def _unfit(text: str) -> ValueError:
    return ValueError(
        f"a slice is {quoted(text)}, expected feature:edge,edge,... with rising finite edges, such "
        "as 'mean_intensity:0.1,0.15'"
    )


def _text(number: float) -> str:
    """With all digits, so that the number can be read back exactly."""
    return repr(number).removesuffix(".0")
