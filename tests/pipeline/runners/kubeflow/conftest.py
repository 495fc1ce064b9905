"""What tests share that run the entrypoint in their own process."""

import logging
from collections.abc import Iterator

import pytest

from pipeline.runners.kubeflow.names import RUN_ID_VARIABLE


@pytest.fixture(scope="module")
def container() -> Iterator[None]:
    """The entrypoint has its process to itself: it sets up logging, and the run's id is there."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["entrypoint"])
        patch.setenv(RUN_ID_VARIABLE, "5f2c")
        yield
    root.handlers, root.level = handlers, level
