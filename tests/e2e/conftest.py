"""What the runs in the process of the tests share."""

from tests.pipeline.runners.conftest import few_requests  # noqa: F401
