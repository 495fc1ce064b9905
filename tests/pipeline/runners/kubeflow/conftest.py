"""What tests share that run the entrypoint in their own process."""

from collections.abc import Iterator

import pytest

from pipeline.runners.kubeflow.names import RUN_ID_VARIABLE


@pytest.fixture(scope="module")
def container() -> Iterator[None]:
    """The run's id is in the environment, and the process has no arguments of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["entrypoint"])
        patch.setenv(RUN_ID_VARIABLE, "5f2c")
        yield
