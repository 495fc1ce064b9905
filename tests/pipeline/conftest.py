"""A small data set as IDX files, an object store, and a process that a signal does not end."""

import atexit
import signal
from collections.abc import Iterator

import pytest

from tests.pipeline.thirds import write_thirds
from tests.s3 import s3_server
from trainer.host import termination


@pytest.fixture
def survives(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What ends a process after a signal does not end that of the tests."""
    monkeypatch.setattr(termination, "GRACE_S", 3600.0)
    handlers = {number: signal.getsignal(number) for number in termination._CODES}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    atexit.unregister(termination._end_without_destructors)


@pytest.fixture(scope="session")
def thirds(tmp_path_factory: pytest.TempPathFactory) -> str:
    """`--dataset` of it."""
    return write_thirds(tmp_path_factory.mktemp("data") / "thirds")


@pytest.fixture(scope="module")
def s3() -> Iterator[None]:
    with s3_server():
        yield
