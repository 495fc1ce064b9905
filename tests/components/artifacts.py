"""TFX's artifacts, as components get them."""

from pathlib import Path
from typing import Any


def artifact(kind: type, uri: Path) -> Any:
    """A standard artifact that lies in that directory."""
    made = kind()
    made.uri = str(uri)
    return made
