"""Keeps the state of a training on disk after each epoch, so that a killed training can resume.

Each epoch has one file, written durably before the last but one is removed. So a kill at any
moment, of the process or of the machine, leaves the last finished epoch or the one before it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainer import progress
from trainer.host.files import write_durably

_SUFFIX = ".checkpoint"
_KEPT = 2  # the newest one, and one to fall back to should its file be damaged


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The state after an epoch: arrays by name, and the JSON-able facts of each epoch so far."""

    arrays: Mapping[str, np.ndarray]
    history: Sequence[Mapping[str, Any]]

    @property
    def epoch(self) -> int:
        return len(self.history)


def training_key(*, data: Iterable[Any], settings: Mapping[str, Any]) -> str:
    """Returns a hexadecimal SHA-256 that is equal only for trainings which compute the same.

    Args:
      data: all tensors or arrays that are trained and evaluated on. Their content counts, because
        the files from which they come may have been written anew.
      settings: everything else that decides the weights; JSON-able.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for values in map(np.asarray, data):
        digest.update(f"{values.shape} {values.dtype}".encode())
        digest.update(np.ascontiguousarray(values).data.cast("B"))
    return digest.hexdigest()


class Checkpoints:
    """The checkpoints of one training below a directory that other trainings use as well."""

    def __init__(self, root: Path, key: str, *, writes: bool = True) -> None:
        """Without `writes`, `save` and `remove` do nothing: of several machines only one writes."""
        self.key = key
        self._root = root
        self._writes = writes
        self._folder = root / key[:16]
        self._warned = False

    def save(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint durably; on a full disk the training goes on without it.

        The first failure is logged as a warning, and the next epoch tries again.
        """
        if not self._writes:
            return
        path = self._folder / f"{checkpoint.epoch:06d}{_SUFFIX}"
        try:
            write_durably(path, _encode(checkpoint, self.key))
            for older in self._files()[:-_KEPT]:
                older.unlink()
        except OSError as error:
            if not self._warned:
                progress.LOGGER.warning(
                    "no checkpoint could be written to %s (%s): training goes on, but if it is "
                    "killed it starts again from an earlier epoch; make room there",
                    self._folder,
                    error.strerror,
                )
            self._warned = True

    def latest(self) -> Checkpoint | None:
        """Returns the newest intact checkpoint of this training; logs and skips damaged ones."""
        for path in reversed(self._files()):
            try:
                return _decode(path.read_bytes(), self.key)
            except (OSError, ValueError) as error:
                progress.LOGGER.warning("checkpoint %s is not used: %s", path, error)
        if any(path.parent != self._folder for path in self._root.glob(f"*/*{_SUFFIX}")):
            progress.LOGGER.info(
                "starting anew: the checkpoints in %s are of trainings with other data, code, "
                "hyper-parameters, seed or replicas; remove those that you will not resume",
                self._root,
            )
        return None

    def remove(self) -> None:
        """Removes the checkpoints of this training, and the common directory if it is empty."""
        if not self._writes:
            return
        shutil.rmtree(self._folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # another training's are there, or it never was
            self._root.rmdir()

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob(f"*{_SUFFIX}"))


def _encode(checkpoint: Checkpoint, key: str) -> bytes:
    """SHA-256 of the key and the rest, a line break, an uncompressed .npz."""
    file = io.BytesIO()
    history = np.array(json.dumps(checkpoint.history))
    # Any: by the types of NumPy 2 one of them may be its flag allow_pickle.
    arrays: dict[str, Any] = {"history": history, **checkpoint.arrays}
    np.savez(file, **arrays)
    content = file.getvalue()
    return _digest(key, content) + b"\n" + content


def _decode(encoded: bytes, key: str) -> Checkpoint:
    digest, _, content = encoded.partition(b"\n")
    if digest != _digest(key, content):
        raise ValueError("it is damaged, or of another training: its SHA-256 is another one")
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = dict(file)
    history = json.loads(str(arrays.pop("history")))
    return Checkpoint(arrays=arrays, history=history)


def _digest(key: str, content: bytes) -> bytes:
    return hashlib.sha256(key.encode() + content).hexdigest().encode()
