"""Which file each example was."""

from pathlib import Path

import numpy as np

from components.example_gen import file_hashes


def test_a_write_that_a_kill_cut_short_is_not_read(tmp_path: Path) -> None:
    rows = np.arange(96, dtype=np.uint8).reshape(3, 32)
    file_hashes.write(str(tmp_path), "test", 1, rows[2:])
    file_hashes.write(str(tmp_path), "test", 0, rows[:2])
    (tmp_path / "file_hashes" / "Split-test" / "00000-0f").write_bytes(bytes(40))
    np.testing.assert_array_equal(file_hashes.read(str(tmp_path / "Split-test")), rows)
