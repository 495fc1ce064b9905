"""Which file each example was."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.example_gen import file_hashes


def test_a_write_that_a_kill_cut_short_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.arange(224, dtype=np.uint8).reshape(7, 32)
    for number in (5, 0, 3, 1, 4, 2, 0):  # a runner may try a step twice
        end = 7 if number == 5 else number + 1
        file_hashes.write(str(tmp_path), "test", number, rows[number:end])
    with monkeypatch.context() as killed:
        killed.setattr(tf.io.gfile, "rename", lambda *_, **__: None)
        file_hashes.write(str(tmp_path), "test", 0, rows[:2])
    assert len(list((tmp_path / "file_hashes" / "Split-test").iterdir())) == 6 + 1
    np.testing.assert_array_equal(file_hashes.read(str(tmp_path / "Split-test")), rows)


def test_examples_of_a_source_without_files_have_none(tmp_path: Path) -> None:
    hashes = file_hashes.read(str(tmp_path / "Split-test"))
    assert file_hashes.of_row(hashes, 5) == ()
