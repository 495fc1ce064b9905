"""Directories in an object store, by URI: copied there and back.

    require_usable("s3://bucket/dir")                   # StoreError, one line, if it is not
    upload(Path("root/model/7"), "s3://bucket/dir/model/7")
    download("s3://bucket/dir/model/7", Path("copy"))   # empty directories too

The file systems are Arrow's, which TFX brings in both generations. TensorFlow has no S3 of its own,
and tensorflow-io, which gives it one, ends with TensorFlow 2.16.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import re
import shutil
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, ParamSpec, TypeVar

from trainer.host.errors import UserError
from trainer.host.text import first_line, quoted

P = ParamSpec("P")
T = TypeVar("T")

SCHEMES = ("s3", "gs")
# Arrow, TFX and Beam would take other characters for a query, an escape or a pattern.
_URI = re.compile(rf"({'|'.join(SCHEMES)})://[a-z0-9][a-z0-9._-]+(/[\w.=+@,-]+)*/?", re.ASCII)

# Variables that name S3's endpoint, as for Amazon's own programs; Arrow 10 does not read them.
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_PROBE = ".tfx-mnist"
_CONNECT_S = 10.0
_ANSWER_S = 60.0
# How long Google is asked again, and how often S3: in a run over about half a minute. Before a run
# it may be credentials that lack, or a wrong name.
_AGAIN_S, _ATTEMPTS = 60.0, 8
_PROBE_S, _PROBE_ATTEMPTS = 5.0, 3
_AT_ONCE = 8  # files that are uploaded


class StoreError(UserError):
    """The store cannot be used."""


def _interruptible(function: Callable[P, T]) -> Callable[P, T]:
    """Lets the exception of a signal come at once, and not when a call into Arrow has returned."""

    @functools.wraps(function)
    def waits(*args: P.args, **given: P.kwargs) -> T:
        return ThreadPoolExecutor(1).submit(function, *args, **given).result()

    return waits


def is_uri(text: str) -> bool:
    """Tells a URI from a path."""
    return "://" in text


def require_form(uri: str) -> None:
    """Raises ValueError for a URI that names no directory of a store."""
    if not _URI.fullmatch(uri):
        raise ValueError(
            f"artifacts is {quoted(uri)}, expected a directory, s3://BUCKET/DIR or "
            "gs://BUCKET/DIR, in letters, digits and . _ - = + @ ,"
        )


@_interruptible
def require_usable(uri: str) -> None:
    """Writes a small object into a directory of the store, reads it and lists; it stays there.

    Raises StoreError: no such bucket, no server, no permission, or no such file system here.
    """
    probe = f"{uri.rstrip('/')}/{_PROBE}"
    with _explained("use", uri):
        store, path = _opened(probe, is_probe=True)
        _write(io.BytesIO(b"artifacts of tfx-mnist\n"), store, path)
        with store.open_input_stream(path) as reader:
            reader.read()
        store.get_file_info(f"{path}.none")  # asks for a list, as every copy does


@_interruptible
def upload(directory: Path, uri: str) -> None:
    """Copies a directory to where nothing is; raises StoreError."""
    with _explained("write", uri):
        store, target = _opened(uri)
        files = []
        for path in (directory, *sorted(directory.rglob("*"))):
            place = PurePosixPath(target) / path.relative_to(directory)
            if path.is_dir():
                _make_directory(store, place)
            else:
                files.append((path, str(place)))

        def copy(pair: tuple[Path, str]) -> None:
            path, place = pair
            with path.open("rb") as file:
                _write(file, store, place)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(copy, files))


def _write(content: BinaryIO, store: Any, path: str) -> None:
    """Writes an object, in the threads of this process: Arrow's copies of files, made in its own,
    wait there for parts that no thread is left to send.
    """
    writer = store.open_output_stream(path, compression=None)
    try:
        shutil.copyfileobj(content, writer)
        writer.close()
    finally:
        del writer  # now: what was not written Arrow tries again, and complains on stderr


def _make_directory(store: Any, path: PurePosixPath) -> None:
    """Makes a directory, and those above it that are missing.

    In S3 Arrow would write all of them again, also where this user may not. In Google's it wants an
    empty object for each of them, and makes those that are missing.
    """
    from pyarrow import fs

    if store.get_file_info(str(path)).type == fs.FileType.NotFound:
        _make_directory(store, path.parent)
        store.create_dir(str(path), recursive=store.type_name == "gcs")


@_interruptible
def download(uri: str, directory: Path) -> None:
    """Copies a directory of the store to where nothing is.

    Raises StoreError; OSError where the disk of this machine is full.
    """
    with _explained("read", uri):
        from pyarrow import fs

        store, source = _opened(uri)
        directory.mkdir(parents=True)
        fs.copy_files(source, str(directory), store, fs.LocalFileSystem())


@_interruptible
def exists(uri: str) -> bool:
    """Tells whether the store has such an object or directory; raises StoreError."""
    with _explained("read", uri):
        from pyarrow import fs

        store, path = _opened(uri)
        return bool(store.get_file_info(path).type != fs.FileType.NotFound)


def _opened(uri: str, *, is_probe: bool = False) -> tuple[Any, str]:
    """Returns Arrow's file system, and the path in it."""
    scheme, _, path = uri.partition("://")
    endpoint = next(filter(None, map(os.environ.get, _ENDPOINTS)), "")
    return _file_system(scheme, path.partition("/")[0], endpoint, is_probe), path.rstrip("/")


@functools.lru_cache
def _file_system(scheme: str, bucket: str, endpoint: str, is_probe: bool) -> Any:
    # An Arrow that was built without one of them raises ImportError, which says so.
    if scheme == "gs":
        from pyarrow.fs import GcsFileSystem

        limit = timedelta(seconds=_PROBE_S if is_probe else _AGAIN_S)
        return GcsFileSystem(retry_time_limit=limit)
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem, resolve_s3_region

    attempts = _PROBE_ATTEMPTS if is_probe else _ATTEMPTS
    limits = {
        "connect_timeout": _CONNECT_S,
        "request_timeout": _ANSWER_S,
        "retry_strategy": AwsStandardS3RetryStrategy(max_attempts=attempts),
    }
    if not endpoint:
        return S3FileSystem(region=resolve_s3_region(bucket), **limits)
    address = urllib.parse.urlsplit(endpoint)
    place = f"{address.netloc}{address.path.rstrip('/')}"
    return S3FileSystem(endpoint_override=place, scheme=address.scheme, **limits)


@contextlib.contextmanager
def _explained(what: str, uri: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Arrow raises OSError, ValueError and errors of its own
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise  # this machine's disk: what a store says has no number
        raise StoreError(
            f"cannot {what} {uri}: {first_line(error)}; expected a bucket that exists and in which "
            "this user may list, read and write; see to its name, the credentials, SSL_CERT_FILE "
            f"and, for S3, {_ENDPOINTS[1]}, or choose another --artifacts"
        ) from error
