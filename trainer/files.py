"""Small files that other processes read while this one may be killed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes JSON so that a kill leaves the whole file or none; makes the directory if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writing = path.with_suffix(".writing")
    writing.write_text(json.dumps(values), encoding="utf-8")
    writing.replace(path)
