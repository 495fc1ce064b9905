"""Two machines that train together, see `tests.trainer.machines`; tests/e2e kills one of them."""

import pytest

from tests.trainer.machines import Machines, assert_close, settings
from tests.trainer.trainings import Training

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def alone(prepared, tmp_path_factory) -> Training:
    """One machine with the global batch that the two have together."""
    training = Training(prepared, tmp_path_factory.mktemp("alone"), **settings(batch=16))
    training.run()
    return training


def test_two_machines_train_as_one_does_and_the_chief_alone_exports(prepared, alone, tmp_path):
    machines = Machines(Training(prepared, tmp_path, **settings(batch=8)), tmp_path)
    machines.end(machines.start_chief(), machines.start_worker())
    assert "replicas: 2" in machines.log(1)
    assert_close(machines.training, alone)
    assert {path.name for path in tmp_path.iterdir()} == {"0", "1", "0.log", "1.log"}
    assert {path.name for path in machines.folder(0).iterdir()} == {"serving", "logs"}
    assert list(machines.folder(1).iterdir()) == []
