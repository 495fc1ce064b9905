"""Downloads and prepares sets of tensorflow-datasets; a failure or a kill leaves nothing behind."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import tensorflow_datasets as tfds
from requests.adapters import HTTPAdapter
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
from tensorflow_datasets.core.download.util import DownloadError

from components.example_gen.data_error import DataError
from components.example_gen.sources import SAMPLE
from trainer.host.text import first_line, quoted

_PROBE_TIMEOUT_S = 10.0
_ANSWER_S = 60.0  # the longest wait for a server, or for more of its answer
_KEPT_ERROR_CHARACTERS = 400  # tfds puts the set and its directory before the cause
_PREFIX = ".tfx-mnist-downloading-"

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def prepare(builder: tfds.core.DatasetBuilder, dataset: str) -> Iterator[None]:
    """Prepares the set, or takes the one that another process prepared in the meantime.

    A DataError inside the `with` block removes the prepared set again.

    Raises:
      DataError: it cannot be prepared.
    """
    _require_readable(Path(builder.data_dir))
    _require_network(builder, dataset)
    home, root = Path(builder.data_dir), Path(builder.data_dir_root)
    with _no_empty_folders(home), downloads_in(root) as folder:
        config = tfds.download.DownloadConfig(
            try_download_gcs=False, manual_dir=root / "downloads" / "manual"
        )
        _log.info("Downloading %s to %s", dataset, home)
        try:
            with _quiet_tfds(), _limited_waits():
                builder.download_and_prepare(download_dir=folder, download_config=config)
        except Exception as error:
            # Of two processes that prepare a set at once, one cannot rename: the other's is whole.
            if not builder.is_prepared():
                raise _not_prepared(builder, dataset, error) from error
        try:
            yield
        except DataError:
            shutil.rmtree(home, ignore_errors=True)
            raise


def _first_line(error: BaseException) -> str:
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return re.sub(r"<\S+ object at \w+>: ", "", line)[:_KEPT_ERROR_CHARACTERS]  # of urllib3


def _require_readable(home: Path) -> None:
    """Raises DataError if another user's set may be there: tensorflow-datasets would see none."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        try:
            os.listdir(home)
        except PermissionError as error:
            raise DataError(
                f"{home}: cannot be read ({error.strerror}), expected a directory that this user "
                "may read: give permission, or choose another --data-dir"
            ) from error


def _require_network(builder: tfds.core.DatasetBuilder, dataset: str) -> None:
    """Asks the download host once, because tensorflow-datasets would retry for minutes."""
    urls = [url for url in builder.url_infos or {} if url.startswith("http")]
    if not urls:
        return
    try:
        requests.head(urls[0], timeout=_PROBE_TIMEOUT_S, allow_redirects=False)
    except requests.exceptions.RequestException as error:
        host = urlsplit(urls[0]).hostname
        raise _out_of_reach(dataset, f"{host} does not answer ({_first_line(error)})") from error


def _out_of_reach(dataset: str, why: str) -> DataError:
    return DataError(
        f"dataset {quoted(dataset)} is not prepared yet and cannot be downloaded: {why}; see to "
        f"the network, use --dataset {SAMPLE}, which needs none, or --dataset idx:DIR with the "
        "set's IDX files"
    )


def _not_prepared(builder: tfds.core.DatasetBuilder, dataset: str, error: Exception) -> DataError:
    if isinstance(error, NonMatchingChecksumError):
        url = str(error).partition("Artifact ")[2].partition(",")[0]
        return DataError(
            f"dataset {quoted(dataset)}: a failed checksum: {url or 'a file'} is not the one "
            "that tensorflow-datasets knows; try again, or use --dataset idx:DIR with good files"
        )
    if isinstance(error, DownloadError | requests.exceptions.RequestException | ConnectionError):
        return _out_of_reach(dataset, f"the download failed ({_first_line(error)})")
    if isinstance(error, AssertionError):  # tfds: files that the user must fetch by hand
        return DataError(f"dataset {quoted(dataset)} cannot be prepared: {_first_line(error)}")
    if isinstance(error, OSError):
        return DataError(
            f"dataset {quoted(dataset)} cannot be prepared in {builder.data_dir} "
            f"({first_line(error)}); choose another --data-dir"
        )
    # The set's own code runs here, and may raise anything.
    return DataError(f"dataset {quoted(dataset)} cannot be prepared: {first_line(error)}")


@contextlib.contextmanager
def _quiet_tfds() -> Iterator[None]:
    """Keeps tensorflow-datasets from printing on stdout, where the CLI prints its one object."""
    tfds.disable_progress_bar()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


@contextlib.contextmanager
def _limited_waits() -> Iterator[None]:
    """Limits the waits of requests that have no limit, such as those of tensorflow-datasets, which
    would also ask a server that never answers eleven times.
    """
    send = HTTPAdapter.send

    def limited(self: HTTPAdapter, *args: Any, **given: Any) -> requests.Response:
        if self.max_retries.total:
            self.max_retries = self.max_retries.new(read=1)
        return send(self, *args, **{**given, "timeout": given.get("timeout") or _ANSWER_S})

    HTTPAdapter.send = limited  # type: ignore[method-assign]
    try:
        yield
    finally:
        HTTPAdapter.send = send  # type: ignore[method-assign]


@contextlib.contextmanager
def _no_empty_folders(home: Path) -> Iterator[None]:
    """Removes those folders above `home` that are made meanwhile and stay empty."""
    missing = [folder for folder in home.parents if not folder.exists()]
    try:
        yield
    finally:
        for folder in missing:
            with contextlib.suppress(OSError):  # not empty, or never made
                folder.rmdir()


@contextlib.contextmanager
def downloads_in(data_dir: Path) -> Iterator[str]:
    """Makes a directory for downloads and removes it afterwards; raises DataError if it cannot.

    It is not tensorflow-datasets' shared `downloads` folder, so that removing a failed download
    touches no other run's files. Those of killed processes are removed too, unless another process
    downloads just now: each holds a shared lock, which the kernel frees when the process ends. The
    lock is the directory's own, so that nothing is left. On NFS and FUSE it holds on one machine
    only: a download that another machine has removed fails, and can be repeated.
    """
    with contextlib.ExitStack() as stack:
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
            lock = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, lock)
            with contextlib.suppress(OSError):  # in use, or a file system without locks
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for abandoned in data_dir.glob(f"{_PREFIX}*"):
                    shutil.rmtree(abandoned, ignore_errors=True)
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_SH)
            made = tempfile.TemporaryDirectory(
                prefix=_PREFIX, dir=data_dir, ignore_cleanup_errors=True
            )
            folder = stack.enter_context(made)
        except OSError as error:
            raise DataError(
                f"{data_dir}: the data cannot be prepared there ({error.strerror or error}), "
                "expected a directory that can be written: choose another --data-dir"
            ) from error
        yield folder
