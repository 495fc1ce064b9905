import dataclasses
from pathlib import Path

import pytest

from trainer import history, progress
from trainer.state import Epoch

EPOCHS = [Epoch(1, 0.5, 0.8, 0.4, 0.9, 0.01, 2.0), Epoch(2, 0.25, 0.9, 0.2, 0.95, 0.001, 2.0)]


def test_epochs_are_read_as_they_were_written(tmp_path: Path) -> None:
    history.write(EPOCHS, tmp_path / "model_run")
    assert history.read(tmp_path / "model_run") == tuple(map(dataclasses.asdict, EPOCHS))


def test_a_training_without_the_file_has_no_epochs(tmp_path: Path) -> None:
    assert history.read(tmp_path) == ()


def test_what_cannot_be_written_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "model_run").touch()
    with caplog.at_level("WARNING", progress.LOGGER.name):
        history.write(EPOCHS, tmp_path / "model_run")
    (record,) = caplog.records
    assert "the report will have no learning curves" in record.getMessage()
