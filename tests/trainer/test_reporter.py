import dataclasses
import types

import pytest
import tensorflow as tf

from trainer import progress
from trainer.progress import Progress
from trainer.reporter import Reporter
from trainer.state import Epoch

EPOCH = Epoch(
    number=1,
    loss=0.5,
    accuracy=0.8,
    eval_loss=0.4,
    eval_accuracy=0.9,
    learning_rate=0.01,
    seconds=2.0,
)


def reporter(folder, history):
    return Reporter(steps_per_epoch=4, epochs=3, history=history, log_dir=str(folder))


@pytest.fixture
def said(caplog):
    """What a user is told."""
    caplog.set_level("INFO", logger=progress.LOGGER.name)
    return lambda: [record.getMessage() for record in caplog.records]


def test_progress_is_said_twice_a_second_and_at_the_end_of_an_epoch(monkeypatch, caplog):
    caplog.set_level("INFO", logger=progress.LOGGER.name)
    clock = types.SimpleNamespace(seconds=100.0, monotonic=lambda: clock.seconds)
    monkeypatch.setattr("trainer.reporter.time", clock)
    resumed = Reporter(steps_per_epoch=4, epochs=3, history=[EPOCH], log_dir=None)
    for clock.seconds in (100.25, 100.5, 100.75, 101.0):
        resumed.steps_done(1)
    resumed.epoch_ended(dataclasses.replace(EPOCH, number=2, eval_accuracy=0.95))
    common = {"total_steps": 12, "epoch": 2, "epochs": 3}
    assert [record.progress for record in caplog.records] == [
        Progress(step, **common, seconds_left=left, eval_accuracy=accuracy, epoch_ended=ended)
        for step, left, accuracy, ended in (
            (6, 0.25 * 6, 0.9, False),
            (8, 0.25 * 4, 0.9, False),
            (8, 0.25 * 4, 0.95, True),
        )
    ]


def test_a_disk_that_fills_up_is_said_once_and_ends_the_events_alone(tmp_path, monkeypatch, said):
    writer = tf.summary.create_file_writer(str(tmp_path))

    def flush():
        raise tf.errors.ResourceExhaustedError(None, None, f"{tmp_path}; No space left on device")

    monkeypatch.setattr(writer, "flush", flush)
    monkeypatch.setattr(tf.summary, "create_file_writer", lambda folder: writer)
    reporter(tmp_path, history=[EPOCH, EPOCH])
    assert said() == [
        f"no TensorBoard events can be written to {tmp_path} (ResourceExhaustedError): training "
        "goes on without them; make room there"
    ]


def test_a_folder_that_cannot_be_made_ends_the_events_alone(tmp_path, said):
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "logs"
    reporter(folder, history=[EPOCH])
    (line,) = said()
    assert line.startswith(f"no TensorBoard events can be written to {folder} (FailedPrecondition")
