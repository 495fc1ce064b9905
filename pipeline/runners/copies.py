"""Local copies of artifacts that lie in an object store, for the time of a run.

    copies = Copies(Path("root/copies"), "s3://bucket/dir/mnist/20261127T101500Z-3f2a")
    copies.local("s3://.../Trainer/model/7")        # root/copies/Trainer/model/7, downloaded once
    Launcher(..., custom_executor_operators=copies.operators())

Components open, hash and map files, and start processes that do. So each gets local paths: what it
reads is downloaded before, and what it wrote is uploaded after it has ended and before TFX
publishes it. ML Metadata knows the URIs alone. A path is not copied; what lies where a component
writes is removed before.
"""

from __future__ import annotations

import functools
import itertools
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfx.dsl.io import filesystem_registry
from tfx.dsl.io.plugins.tensorflow_gfile import TensorflowFilesystem
from tfx.orchestration.portable import launcher

from pipeline import stores

_PARTS = 3  # TFX's own part of an artifact's path: component, output, execution


class Copies:
    """The copies below one folder, which is emptied first: nothing in it is trusted.

    Args:
      store: URI of the directory for what this run makes; None if it stays where TFX puts it.
    """

    def __init__(self, folder: Path, store: str | None = None) -> None:
        self.folder = folder
        self._store = store
        self._current: set[Path] = set()
        if folder.exists():
            shutil.rmtree(folder)

    def local(self, uri: str) -> Path:
        """Returns where an artifact's files are on this machine; raises StoreError.

        The path depends on the last parts of the URI only, because the Evaluator notes it.
        """
        if not stores.is_uri(uri):
            return Path(uri)
        path = self.folder.joinpath(*uri.split("/")[-_PARTS:])
        if path not in self._current:
            shutil.rmtree(path, ignore_errors=True)  # a download that failed
            stores.download(uri, path)
            self._current.add(path)
        return path

    def uri(self, path: str) -> str:
        """Returns the URI for what was written at a path below the folder."""
        return f"{self._store}/{Path(path).relative_to(self.folder)}" if self._store else path

    def keep(self, path: str) -> str:
        """Uploads what was written at a path, and returns its URI; raises StoreError."""
        if self._store:
            stores.upload(Path(path), self.uri(path))
            self._current.add(Path(path))
        return self.uri(path)

    def operators(self) -> Mapping[Any, Any]:
        """Returns what runs executors, for TFX's launcher."""
        return {
            spec: functools.partial(_OnCopies, self, operator)
            for spec, operator in launcher.DEFAULT_EXECUTOR_OPERATORS.items()
        }


class _OnCopies:
    """Does what TFX's operator does, with local paths for the executor."""

    def __init__(self, copies: Copies, operator: Any, **settings: Any) -> None:
        self._copies = copies
        self._operator = operator(**settings)
        self.with_execution_watcher = self._operator.with_execution_watcher

    def run_executor(self, execution_info: Any) -> Any:
        for artifact in itertools.chain(*execution_info.input_dict.values()):
            artifact.uri = str(self._copies.local(artifact.uri))
        outputs = list(itertools.chain(*execution_info.output_dict.values()))
        for artifact in outputs:
            # With a new metadata.sqlite TFX gives old paths again, and leaves what is there.
            shutil.rmtree(artifact.uri)
            Path(artifact.uri).mkdir()
        done = self._operator.run_executor(execution_info)
        changed = {key: each.artifacts for key, each in done.output_artifacts.items()}
        # What an executor did not change, TFX publishes as it made it.
        for artifact in itertools.chain(*{**execution_info.output_dict, **changed}.values()):
            self._copies.keep(artifact.uri)
        # Only now, since TFX removes the outputs where an upload fails. It compares both lists.
        for artifact in itertools.chain(outputs, *changed.values()):
            artifact.uri = self._copies.uri(artifact.uri)
        return done


class _Stores(TensorflowFilesystem):
    """What TFX asks before it takes over an earlier result: whether that is still there."""

    SUPPORTED_SCHEMES = [f"{scheme}://" for scheme in stores.SCHEMES]  # noqa: RUF012

    @staticmethod
    def exists(path: str) -> bool:
        return stores.exists(path)


filesystem_registry.DEFAULT_FILESYSTEM_REGISTRY.register(_Stores, priority=0)
