"""Models to publish, and the time at which it is done."""

import random
from pathlib import Path

import pytest

from tests.components.serving_dir.samples import NOON, write_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


@pytest.fixture
def other_model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "other", {"saved_model.pb": b"another graph"})


@pytest.fixture
def at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.serving_dir.publishing.utc_now", lambda: NOON)


@pytest.fixture
def large_model(tmp_path: Path) -> Path:
    """3 MB in 20 files: a publish has many moments at which it can be killed."""
    content = random.Random(0).randbytes(150_000)
    return write_model(
        tmp_path / "large",
        {f"variables/{i % 6}/shard-{i:02d}": bytes([i]) + content for i in range(20)},
    )
