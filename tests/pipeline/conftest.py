"""A small data set as IDX files, see `tests.pipeline.thirds`."""

import pytest

from tests.pipeline.thirds import write_thirds


@pytest.fixture(scope="session")
def thirds(tmp_path_factory: pytest.TempPathFactory) -> str:
    """`--dataset` of it."""
    return write_thirds(tmp_path_factory.mktemp("data") / "thirds")
