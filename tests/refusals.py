"""What a call that is refused says."""

from collections.abc import Callable
from typing import Any

import pytest


def refusal_of(
    error: type[Exception] | tuple[type[Exception], ...],
    call: Callable[..., object],
    *args: Any,
    **kwargs: Any,
) -> str:
    """The message of the error that the call raises, which must be one line."""
    with pytest.raises(error) as refused:
        call(*args, **kwargs)
    line = str(refused.value)
    assert "\n" not in line
    return line
