"""Downloads and prepares sets of tensorflow-datasets; a failure or a kill leaves nothing behind."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
from tensorflow_datasets.core.download.util import DownloadError

from components.example_gen.sources import SAMPLE, DataError
from trainer.host.locks import exclusive
from trainer.host.text import quoted

_PROBE_TIMEOUT_S = 10.0
_PREFIX = ".tfx-mnist-downloading-"
_KEPT_ERROR_CHARACTERS = 400  # tfds puts the set and its directory before the cause
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def prepare(builder: tfds.core.DatasetBuilder, dataset: str) -> Iterator[None]:
    """Prepares the set, or takes the one that another process prepared in the meantime.

    A DataError inside the `with` block removes the prepared set again.

    Raises:
      DataError: it cannot be prepared.
    """
    _require_network(builder, dataset)
    home = Path(builder.data_dir)
    with _downloads_beside(home) as folder:
        config = tfds.download.DownloadConfig(
            try_download_gcs=False, manual_dir=Path(builder.data_dir_root) / "downloads" / "manual"
        )
        _log.info("Downloading %s to %s", dataset, home)
        try:
            with _quiet_tfds():
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


def typed(error: Exception) -> str:
    """Returns an exception's type and the first line of its text."""
    return f"{type(error).__name__}: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:_KEPT_ERROR_CHARACTERS]


def _require_network(builder: tfds.core.DatasetBuilder, dataset: str) -> None:
    """Asks the download host once, because tensorflow-datasets would retry for minutes."""
    urls = [url for url in builder.url_infos or {} if url.startswith("http")]
    if not urls:
        return
    try:
        requests.head(urls[0], timeout=_PROBE_TIMEOUT_S, allow_redirects=False)
    except requests.exceptions.RequestException as error:
        raise _out_of_reach(dataset, f"{urlsplit(urls[0]).hostname} does not answer") from error


def _out_of_reach(dataset: str, why: str) -> DataError:
    return DataError(
        f"dataset {quoted(dataset)} is not prepared yet and there is no network to download it: "
        f"{why}; use --dataset {SAMPLE}, which needs no network, or --dataset idx:DIR with the "
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
            f"({typed(error)}); choose another --data-dir"
        )
    # The set's own code runs here, and may raise anything.
    return DataError(f"dataset {quoted(dataset)} cannot be prepared: {typed(error)}")


@contextlib.contextmanager
def _quiet_tfds() -> Iterator[None]:
    """Keeps tensorflow-datasets from printing on stdout, where the CLI prints its one object."""
    tfds.disable_progress_bar()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


@contextlib.contextmanager
def _downloads_beside(home: Path) -> Iterator[Path]:
    """Makes a directory for downloads; removes it afterwards, with all folders that stayed empty.

    It is not tensorflow-datasets' shared `downloads` folder, so that removing a failed download
    touches no other run's files.
    """
    missing = [folder for folder in home.parents if not folder.exists()]
    present = home.parents[len(missing) :]
    try:
        with contextlib.ExitStack() as stack:
            try:
                for folder in present:  # a killed run may have found fewer of them
                    remove_abandoned(folder)
                downloads = stack.enter_context(scratch_in(present[0]))
            except OSError as error:
                raise DataError(
                    f"{home}: the data cannot be prepared there ({error.strerror or error}), "
                    "expected a directory that can be written: choose another --data-dir"
                ) from error
            yield downloads
    finally:
        for folder in missing:
            with contextlib.suppress(OSError):  # not empty, or never made
                folder.rmdir()


@contextlib.contextmanager
def scratch_in(parent: Path) -> Iterator[Path]:
    """Makes a directory with the mode of the umask, and removes it afterwards.

    The process holds a lock on it, which the kernel releases when the process ends in any way.
    """
    lock = None
    while lock is None:
        folder = parent / f"{_PREFIX}{secrets.token_hex(8)}"
        folder.mkdir()
        lock = _lock_new(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _lock_new(folder: Path) -> int | None:
    """The locked directory; None if another process took it for an abandoned one before that."""
    try:
        lock = os.open(folder, _DIRECTORY)
    except FileNotFoundError:
        return None
    with contextlib.suppress(OSError):  # a file system without locks
        fcntl.flock(lock, fcntl.LOCK_EX)
    if folder.is_dir():
        return lock
    os.close(lock)
    return None


def remove_abandoned(parent: Path) -> None:
    """Removes ended processes' scratch directories where it can; without file locks all stay."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with (
            contextlib.suppress(OSError),
            exclusive(os.open(folder, _DIRECTORY), timeout_s=0),
        ):
            _log.info("Removing an interrupted download: %s", folder)
            shutil.rmtree(folder)
