import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.limits import full_disk
from tests.refusals import refusal_of
from trainer.device_memory import OutOfMemory
from trainer.paged_array import NoScratchSpace, PagedArray


@pytest.mark.parametrize("on_disk", [False, True])
def test_tensorflow_reads_what_numpy_has_written_without_a_copy(tmp_path, on_disk):
    made = PagedArray([50, 7, 3], np.uint8, folder=tmp_path if on_disk else None)
    made.array[...] = np.arange(1050).reshape(50, 7, 3) % 256
    tensor = made.tensor()
    assert (tensor.shape, tensor.dtype) == ((50, 7, 3), tf.uint8)
    made.array[49, 6, 2] = 9
    made.read_at_random()
    made.expect([49, 0])
    np.testing.assert_array_equal(tf.gather(tensor, [49, 0]), made.array[[49, 0]])
    assert int(tensor[49, 6, 2]) == 9


def test_the_tensor_keeps_the_bytes(tmp_path):
    made = PagedArray([1000, 1000], np.float32, folder=tmp_path)
    made.array[...] = 3.0
    tensor = made.tensor()
    del made
    assert float(tf.reduce_sum(tensor)) == 3e6


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from trainer.paged_array import PagedArray
made = PagedArray([1000, 1000], np.uint8, folder=Path(sys.argv[1]))
made.array[...] = 1
assert os.listdir(sys.argv[1]) == []
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.once  # what the system does with the file
def test_nobody_sees_the_file_and_nothing_is_left_after_a_kill(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], cwd=Path(__file__).parents[2])
    assert done.returncode == -9
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_in_one_line_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", lambda descriptor, *_: full_disk(descriptor))
    with pytest.raises(NoScratchSpace) as raised:
        PagedArray([1000, 28, 28, 1], np.uint8, folder=tmp_path)
    line = str(raised.value)
    assert line.startswith(f"training.input=stream needs 784.0 kB in {tmp_path}, where ")
    assert line.endswith(
        f"are free ({os.strerror(errno.ENOSPC)}): make room there, set TMPDIR to another "
        "directory, or set training.input=memory"
    )


def test_more_than_the_disk_has_is_refused(tmp_path):
    with pytest.raises(NoScratchSpace, match=r"needs \d+\.\d TB in "):
        PagedArray([1 << 46], np.uint8, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_missing_is_named(tmp_path):
    with pytest.raises(NoScratchSpace, match=f"{tmp_path}/none .*No such file or directory"):
        PagedArray([10], np.uint8, folder=tmp_path / "none")


def test_more_than_the_machine_has_is_refused_in_one_line():
    assert refusal_of(OutOfMemory, PagedArray, [1 << 46], np.uint8) == (
        f"training.input=memory needs 70.4 TB for a split ({os.strerror(errno.ENOMEM)}): set "
        "training.input=stream"
    )
