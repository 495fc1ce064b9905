"""The error of a data set that cannot be used, whatever finds it out."""

from __future__ import annotations

from trainer.host.errors import Refusal


class DataError(Refusal, ValueError):
    """The data set cannot be used; one line: the thing, its value, the expected one, the remedy."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
