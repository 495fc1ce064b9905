"""Finds the data set that `--dataset` names, and prepares it when it is not prepared yet.

    builder = resolve("mnist_sample", data_dir=None, cache_dir="~/.cache/tfx-mnist")
    builder.info.splits["train"].num_examples     # 4000

Every source ends as a prepared tensorflow-datasets builder that has an image, a label, a train and
a test split; what has not is refused before anything is written.
"""

from __future__ import annotations

import contextlib
import difflib
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
from tensorflow_datasets.core.download.util import DownloadError

from components.example_gen import idx, sample
from components.example_gen.arrays import TEST, TRAIN
from components.example_gen.errors import DataError
from components.example_gen.features import find_keys
from components.example_gen.prepare import prepared, quiet_tfds
from components.example_gen.scratch import remove_abandoned, scratch_in
from components.example_gen.spec import SAMPLE, DatasetSpec, parse_dataset
from trainer.host.text import quoted

_PROBE_TIMEOUT_S = 10.0
_DOWNLOADS_PREFIX = ".tfx-mnist-downloading-"
_KEPT_ERROR_CHARACTERS = 400  # tfds puts the set and its directory before the cause
_WITHOUT_NETWORK = (
    f"use --dataset {SAMPLE}, which needs no network, or --dataset idx:DIR with the set's IDX files"
)

_log = logging.getLogger(__name__)


def resolve(text: str, *, data_dir: str | None, cache_dir: str) -> tfds.core.DatasetBuilder:
    """The prepared builder of a data set.

    Args:
      text: what `--dataset` says, see `spec.parse_dataset`.
      data_dir: tensorflow-datasets' own directory, None for its default.
      cache_dir: where `mnist_sample` and `idx:DIR` are prepared.

    Raises:
      DataError: the set is unknown, unsuitable, damaged or out of reach; nothing was written then.
    """
    spec = parse_dataset(text)
    if spec.kind == "tfds":
        return _resolve_tfds(spec, data_dir)
    cache = Path(cache_dir).expanduser()
    if spec.path is not None:
        arrays = idx.read_directory(spec.path)
        return prepared(cache, arrays.name, arrays.fingerprint, lambda: arrays)
    return prepared(cache, SAMPLE, sample.fingerprint(), sample.read)


def _resolve_tfds(spec: DatasetSpec, data_dir: str | None) -> tfds.core.DatasetBuilder:
    builder = _find_builder(spec, data_dir)
    find_keys(builder.info, spec.text)  # before anything is downloaded
    if builder.is_prepared():
        _require_splits(builder, spec)
        return builder
    _require_network(builder, spec)
    return _download(builder, spec, data_dir)


def _find_builder(spec: DatasetSpec, data_dir: str | None) -> tfds.core.DatasetBuilder:
    try:
        return tfds.builder(spec.text, data_dir=data_dir, try_gcs=False)
    except tfds.core.DatasetNotFoundError as error:
        known = [SAMPLE, *tfds.list_builders(with_community_datasets=False)]
        raise DataError(
            f"dataset {quoted(spec.name)} is unknown{_nearest(spec.name, known)}; expected "
            f"{SAMPLE}, idx:DIR or an image set of tensorflow-datasets"
        ) from error
    # tfds raises AssertionError for an unknown version and ValueError for an unknown config; the
    # set's own code, and damaged metadata of a prepared set, raise anything.
    except Exception as error:
        raise DataError(
            f"dataset {quoted(spec.text)} cannot be loaded: {_reason(spec, error)}"
        ) from error


def _reason(spec: DatasetSpec, error: Exception) -> str:
    if not isinstance(error, AssertionError | ValueError):
        return _typed(error)
    configs = list(tfds.builder_cls(spec.name).builder_configs)
    if spec.config is not None and spec.config not in configs:
        expected = (
            f"one of {', '.join(configs[:12])}" if configs else "none: the set has no configs"
        )
        near = _nearest(spec.config, configs)
        return f"config {quoted(spec.config)} is unknown{near}; expected {expected}"
    if isinstance(error, AssertionError) and spec.version is not None:
        versions = str(error).rpartition("only: ")[2].rstrip(".")
        return f"version {spec.version} is unknown; expected {versions}"
    return _typed(error)


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f", did you mean {near[0]!r}" if near else ""


def _require_splits(builder: tfds.core.DatasetBuilder, spec: DatasetSpec) -> None:
    have = sorted(builder.info.splits)
    for split in (TRAIN, TEST):
        if split not in have:
            raise DataError(
                f"dataset {quoted(spec.text)} has no split {split!r}, only "
                f"{', '.join(have) or 'none'}; expected a set that was published with a train and "
                "a test split"
            )
        if not builder.info.splits[split].num_examples:
            raise DataError(
                f"dataset {quoted(spec.text)}: the {split} split is empty, expected at least one "
                "image"
            )


def _require_network(builder: tfds.core.DatasetBuilder, spec: DatasetSpec) -> None:
    """Asks the download host once: tensorflow-datasets itself would retry for minutes."""
    urls = [url for url in builder.url_infos or {} if url.startswith("http")]
    if not urls:
        return
    try:
        requests.head(urls[0], timeout=_PROBE_TIMEOUT_S, allow_redirects=False)
    except requests.exceptions.RequestException as error:
        raise _out_of_reach(spec, f"{urlsplit(urls[0]).hostname} does not answer") from error


def _download(
    builder: tfds.core.DatasetBuilder, spec: DatasetSpec, data_dir: str | None
) -> tfds.core.DatasetBuilder:
    """Prepares the set, or takes what another process has prepared meanwhile."""
    home = Path(builder.data_dir)
    with _downloads_beside(home) as downloads:
        config = tfds.download.DownloadConfig(
            try_download_gcs=False, manual_dir=Path(builder.data_dir_root) / "downloads" / "manual"
        )
        _log.info("Downloading %s to %s", spec.text, home)
        try:
            with quiet_tfds():
                builder.download_and_prepare(download_dir=downloads, download_config=config)
        except Exception as error:
            # Of two processes that prepare a set at once, one cannot rename: the other's is whole.
            if not builder.is_prepared():
                raise _not_prepared(builder, spec, error) from error
        found = _find_builder(spec, data_dir)
        try:
            _require_splits(found, spec)
        except DataError:
            shutil.rmtree(home, ignore_errors=True)
            raise
        return found


def _not_prepared(
    builder: tfds.core.DatasetBuilder, spec: DatasetSpec, error: Exception
) -> DataError:
    """What the user is told of an error of `download_and_prepare`."""
    if isinstance(error, NonMatchingChecksumError):
        url = str(error).partition("Artifact ")[2].partition(",")[0]
        return DataError(
            f"dataset {quoted(spec.text)}: a failed checksum: {url or 'a file'} is not the one "
            "that tensorflow-datasets knows; try again, or use --dataset idx:DIR with good files"
        )
    if isinstance(error, DownloadError | requests.exceptions.RequestException | ConnectionError):
        return _out_of_reach(spec, f"the download failed ({_first_line(error)})")
    if isinstance(error, AssertionError):  # tfds: files that the user must fetch by hand
        return DataError(f"dataset {quoted(spec.text)} cannot be prepared: {_first_line(error)}")
    if isinstance(error, OSError):
        return DataError(
            f"dataset {quoted(spec.text)} cannot be prepared in {builder.data_dir} "
            f"({_typed(error)}); choose another --data-dir"
        )
    # The set's own code runs here, and may raise anything.
    return DataError(f"dataset {quoted(spec.text)} cannot be prepared: {_typed(error)}")


@contextlib.contextmanager
def _downloads_beside(home: Path) -> Iterator[Path]:
    """Gives a directory for downloads; afterwards it is gone, with all folders that stayed empty.

    Downloads are kept apart from tensorflow-datasets' shared `downloads` folder, so that what a
    failed one leaves can be removed without touching another run's files.
    """
    missing = [folder for folder in home.parents if not folder.exists()]
    present = home.parents[len(missing) :]
    try:
        with contextlib.ExitStack() as stack:
            try:
                for folder in present:  # a killed run may have found fewer of them
                    remove_abandoned(folder, _DOWNLOADS_PREFIX)
                downloads = stack.enter_context(scratch_in(present[0], _DOWNLOADS_PREFIX))
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


def _out_of_reach(spec: DatasetSpec, why: str) -> DataError:
    return DataError(
        f"dataset {quoted(spec.text)} is not prepared yet and there is no network to download it: "
        f"{why}; {_WITHOUT_NETWORK}"
    )


def _typed(error: Exception) -> str:
    return f"{type(error).__name__}: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:_KEPT_ERROR_CHARACTERS]
