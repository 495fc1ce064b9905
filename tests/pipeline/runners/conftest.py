"""What the runs of these tests share."""

import pytest

from components.serving_check import questions


@pytest.fixture(autouse=True, scope="module")
def few_requests():
    """A model's latency is measured by 3 × 20 requests: no test here is about it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(questions, "LATENCY_REQUESTS", 20)
        yield
