"""A pipeline root and a serving directory for the commands."""

from pathlib import Path

import pytest

from tests.components.serving_dir.samples import publish_letters


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A pipeline root that does not exist yet."""
    return tmp_path / "root"


@pytest.fixture
def serving(tmp_path: Path) -> Path:
    """Three versions, of the letters a to c."""
    publish_letters(tmp_path / "serving", "abc")
    return tmp_path / "serving"
