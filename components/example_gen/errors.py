"""The one error that a user's data or choice of data can cause."""

from __future__ import annotations


class DataError(ValueError):
    """A data set that cannot be used. The message is one line: what, actual, expected, remedy."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
