"""A small data set as IDX files, see `tests.pipeline.thirds`, and an object store."""

from collections.abc import Iterator

import pytest

from tests.pipeline.thirds import write_thirds
from tests.s3 import s3_server


@pytest.fixture(scope="session")
def thirds(tmp_path_factory: pytest.TempPathFactory) -> str:
    """`--dataset` of it."""
    return write_thirds(tmp_path_factory.mktemp("data") / "thirds")


@pytest.fixture(scope="module")
def s3() -> Iterator[None]:
    with s3_server():
        yield
