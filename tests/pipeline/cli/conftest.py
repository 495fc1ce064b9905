"""A pipeline root for the commands."""

from pathlib import Path

import pytest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A pipeline root that does not exist yet."""
    return tmp_path / "root"
