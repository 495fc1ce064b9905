"""Models to publish, and one evaluation of each kind for all tests that look at what comes of it.

What they are made of is imported late: most tests here do without TensorFlow.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.components.serving_dir.samples import letter_model


@pytest.fixture
def serving(tmp_path: Path) -> Path:
    """A serving directory that does not exist yet."""
    return tmp_path / "serving"


@pytest.fixture
def first_model(tmp_path: Path) -> Path:
    return letter_model(tmp_path, "a")


@pytest.fixture
def second_model(tmp_path: Path) -> Path:
    return letter_model(tmp_path, "b")


@pytest.fixture(scope="session")
def setting(prepared, tmp_path_factory) -> Any:
    from tests.components.evaluated import make_setting

    return make_setting(prepared, tmp_path_factory.mktemp("setting"))


@pytest.fixture(scope="session")
def held(setting, tmp_path_factory) -> Any:
    from tests.components.evaluated import HELD, evaluate

    return evaluate(setting, HELD, tmp_path_factory.mktemp("held"), compared=True)


@pytest.fixture(scope="session")
def missed(setting, tmp_path_factory) -> Any:
    from tests.components.evaluated import MISSED, evaluate

    return evaluate(setting, MISSED, tmp_path_factory.mktemp("missed"), compared=True)


@pytest.fixture(scope="session")
def first(setting, tmp_path_factory) -> Any:
    """Nothing is served yet, and the accuracy is below the floor."""
    from tests.components.evaluated import BELOW, evaluate

    return evaluate(setting, BELOW, tmp_path_factory.mktemp("first"), compared=False)
