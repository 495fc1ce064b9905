import errno
import os
import resource
import sqlite3
import tempfile
from pathlib import Path

import pytest
import tensorflow as tf

from components.example_gen.data_error import DataError
from components.serving_dir.model_files import ServingDirError, explained
from pipeline import stores
from pipeline.config import RunConfig
from pipeline.runners.failures import limit_reached, no_permission, no_space
from trainer.host.text import first_line
from trainer.training_process import TrainingFailed

ROOT = RunConfig(pipeline_root="root")
TEMPORARY = tempfile.gettempdir()  # the user's: while tests run, this process has its own there
LINE = (
    f"no space left on device: free some for the pipeline root root and for {TEMPORARY}, or choose "
    "another --pipeline-root; the same command goes on from what is finished"
)


def _full_disk() -> Exception:
    with open("/dev/full", "wb", buffering=0) as full:
        try:
            full.write(b"x")
        except OSError as error:
            return error
    raise AssertionError


def _full_database(path: Path) -> Exception:
    """SQLite's error, which ML Metadata makes the text of its own."""
    database = sqlite3.connect(path / "database")
    try:
        database.execute("CREATE TABLE t (x)")
        database.execute("PRAGMA max_page_count = 2")
        database.execute("INSERT INTO t VALUES (zeroblob(100000))")
    except sqlite3.Error as error:
        return error
    finally:
        database.close()
    raise AssertionError


def _while_handled(error: Exception, *, cause: bool) -> Exception:
    """Another error, which a library raised from the first one, or while it handled it."""
    try:
        try:
            raise error
        except Exception as first:
            raise ValueError("Transaction already open.") from (first if cause else None)
    except ValueError as second:
        second.__suppress_context__ = False
        return second


def test_a_full_disk_is_told_whoever_found_it(tmp_path: Path) -> None:
    for found in (_full_disk(), _full_database(tmp_path)):
        told = RuntimeError(f"{found} [while running 'WriteFile']")  # as Beam has it
        for error in (found, told, _while_handled(found, cause=True)):
            assert no_space(error, ROOT) == LINE
        assert no_space(_while_handled(found, cause=False), ROOT) == LINE


def test_an_undone_transaction_tells_of_a_full_disk_where_the_disk_is_full(tmp_path: Path) -> None:
    undone = RuntimeError("cannot commit - no transaction is active")
    told = {
        root: no_space(undone, RunConfig(pipeline_root=root))
        for root in ("/proc", str(tmp_path), str(tmp_path / "removed"))  # /proc has no free space
    }
    assert [bool(line) for line in told.values()] == [True, False, False]


def test_an_error_that_names_its_path_keeps_its_own_line() -> None:
    with (
        pytest.raises(ServingDirError, match="publish m to served: No space left") as served,
        explained("publish m to served"),
    ):
        raise _full_disk()
    data = DataError("/data: the data cannot be prepared there (No space left on device)")
    assert [no_space(error, ROOT) for error in (served.value, data)] == [None, None]


def test_of_a_copy_it_is_told_whose_disk_is_full() -> None:
    store = OSError(f"HTTP status 507: InsufficientStorage {os.strerror(errno.ENOSPC)}")
    with pytest.raises(stores.StoreError) as full, stores._explained("write", "s3://bucket/a"):
        raise store
    assert no_space(full.value, ROOT) is None
    with (
        pytest.raises(OSError, match="No space") as own,
        stores._explained("read", "s3://bucket/a"),
    ):
        raise _full_disk()
    assert no_space(own.value, ROOT) == LINE


def test_artifacts_on_a_disk_of_their_own_are_named() -> None:
    moved, stored = (
        no_space(_full_disk(), RunConfig(pipeline_root="root", artifacts=place))
        for place in ("/big/artifacts", "s3://bucket/artifacts")
    )
    assert moved is not None
    assert moved.startswith(
        "no space left on device: free some for the pipeline root root, for the artifacts "
        f"/big/artifacts and for {TEMPORARY}, or choose another --pipeline-root; "
    )
    assert stored == LINE


def test_a_file_of_another_user_in_the_pipeline_root_is_told_with_the_remedy() -> None:
    absolute = os.path.abspath("root")
    for error in (  # TensorFlow's own, Python's, and one that Beam has made text of
        tf.errors.PermissionDeniedError(None, None, f"{absolute}/artifacts/x; Permission denied"),
        PermissionError(errno.EACCES, os.strerror(errno.EACCES), f"{absolute}/logs/x"),
        RuntimeError(f"{absolute}/artifacts/x; Permission denied [while running 'WriteFile']"),
    ):
        assert no_permission(error, ROOT) == (
            f"{first_line(error)}; a pipeline root belongs to one user: give this one all that is "
            "in root (chown), or choose another --pipeline-root"
        )
    elsewhere = PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/data/x")
    ours = ServingDirError(f"cannot publish {absolute}/x: Permission denied: give permission")
    for error in (elsewhere, ours, ValueError(absolute)):
        assert no_permission(error, ROOT) is None


AGAIN = ", and give the same command again"
MEMORY = "free memory, raise `ulimit -v`, or use a machine with more"


def test_too_little_memory_is_told_with_the_remedy_whoever_wanted_it() -> None:
    tensor = "OOM when allocating tensor with shape[8,8] and type float on CPU:0 [Op:Fill]"
    array = MemoryError("Unable to allocate 64.0 TiB for an array")
    for error in (
        RuntimeError(f"ResourceExhaustedError: {tensor} [while running 'Count']"),
        array,
        ImportError("libx.so.2: failed to map segment from shared object"),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    ):
        assert limit_reached(error) == f"{first_line(error)}; {MEMORY}{AGAIN}"
    assert limit_reached(_while_handled(array, cause=True)) == (
        f"ValueError: Transaction already open.; {MEMORY}{AGAIN}"
    )


def _no_file(limit: int) -> Exception:
    """The error of a process that may open no file, or write none."""
    former = resource.getrlimit(limit)
    resource.setrlimit(limit, (0, former[1]))
    try:
        with tempfile.TemporaryFile() as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        return error
    finally:
        resource.setrlimit(limit, former)
    raise AssertionError


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (_no_file(resource.RLIMIT_NOFILE), "raise `ulimit -n`"),
        (_no_file(resource.RLIMIT_FSIZE), "raise `ulimit -f`"),
        (RuntimeError("File too large [while running 'StageShard']"), "raise `ulimit -f`"),
        (RuntimeError("Failed to bind to address localhost:0; set GRPC_VER"), "free some ports"),
        (RuntimeError("can't start new thread"), "raise `ulimit -u`, or the number of processes"),
        (OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)), "raise `ulimit -u`, or the number"),
    ],
)
def test_each_other_limit_of_a_process_is_told_with_its_remedy(
    error: Exception, remedy: str
) -> None:
    line = limit_reached(error)
    assert line is not None
    assert line.startswith(f"{first_line(error)}; {remedy}")
    assert line.endswith(AGAIN)


def test_an_error_of_ours_has_a_remedy_of_its_own() -> None:
    with pytest.raises(TrainingFailed) as failed:
        raise TrainingFailed("the data exceeds the memory: stream it") from MemoryError()
    assert limit_reached(failed.value) is None
    assert limit_reached(ValueError("no")) is None


@pytest.mark.parametrize("error", [None, ValueError("no"), PermissionError(13, "denied")])
def test_another_error_is_no_full_disk(error: Exception | None) -> None:
    assert no_space(error, ROOT) is None


def test_an_error_that_is_its_own_cause_has_an_end() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert no_space(first, ROOT) is None


def test_somebody_elses_message_has_an_end() -> None:
    assert first_line(ValueError("9" * 5_000)) == f"ValueError: {'9' * 500}"
