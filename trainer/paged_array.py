"""Arrays that TensorFlow reads where they lie: in memory, or in a file that is mapped into it.

images = PagedArray([60_000, 28, 28, 1], np.uint8, folder=Path("."))
images.array[:1000] = ...     # NumPy writes
images.tensor()               # TensorFlow reads the same bytes, and makes no copy
"""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.device_memory import OutOfMemory
from trainer.host.text import size


class NoScratchSpace(OSError):
    """A file cannot be made; the message is one line for the user."""


class PagedArray:
    """An array in whole pages of memory, or of a file.

    The file has no name, so that the system frees it when the process ends, however it ends. Its
    pages are in memory only while there is room for them.

    Attributes:
      array: to be filled; what it holds at first is not defined.
    """

    def __init__(self, shape: Sequence[int], dtype: Any, *, folder: Path | None = None) -> None:
        """With a `folder` it lies in a file there, or raises `NoScratchSpace`; without, it lies in
        memory, or raises `OutOfMemory`.
        """
        num_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        self._file = None if folder is None else _scratch_file(folder, num_bytes)
        if self._file is not None:
            weakref.finalize(self, os.close, self._file)
        self._pages = _memory(num_bytes) if self._file is None else mmap.mmap(self._file, num_bytes)
        self.array: np.ndarray = np.frombuffer(self._pages, dtype).reshape(shape)

    def tensor(self) -> tf.Tensor:
        """Returns the same bytes as a tensor of the CPU."""
        tensor: tf.Tensor = tf.experimental.dlpack.from_dlpack(self.array.__dlpack__())
        return tensor

    def read_at_random(self) -> None:
        """Says that a row is read without its neighbours from now on."""
        if self._file is not None:
            self._pages.madvise(mmap.MADV_RANDOM)

    def expect(self, rows: Iterable[int]) -> None:
        """Lets the system begin to read rows from the file; they are read in any case."""
        if self._file is not None:
            row_bytes = self.array[0].nbytes
            for row in rows:
                start = row * row_bytes
                os.posix_fadvise(self._file, start, row_bytes, os.POSIX_FADV_WILLNEED)


def _memory(num_bytes: int) -> mmap.mmap:
    try:
        return mmap.mmap(-1, num_bytes)
    except OSError as error:
        raise OutOfMemory(
            f"training.input=memory needs {size(num_bytes)} for a split ({error.strerror}): set "
            "training.input=stream"
        ) from error


def _scratch_file(folder: Path, num_bytes: int) -> int:
    """Returns a descriptor."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            # Otherwise a write that finds the disk full would end the process, by SIGBUS.
            os.posix_fallocate(file.fileno(), 0, num_bytes)
            return os.dup(file.fileno())
    except OSError as error:
        free = ""
        with contextlib.suppress(OSError):
            free = f", where {size(shutil.disk_usage(folder).free)} are free"
        raise NoScratchSpace(
            f"training.input=stream needs {size(num_bytes)} in {folder}{free} ({error.strerror}): "
            "make room there, set TMPDIR to another directory, or set training.input=memory"
        ) from error
