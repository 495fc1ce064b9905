"""`tfx-mnist`: the console script.

    raise SystemExit(main(["run", "--preset", "quick"]))

Exit codes stand in `arguments.EXIT_CODES`. Nothing heavy is imported before a run begins.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from pipeline.cli import arguments, logs, terminal
from pipeline.cli.arguments import UsageError
from pipeline.cli.summary import summary, wants_colour, write
from pipeline.config import ConfigError, RunConfig
from pipeline.result import FAILED, REFUSED, RELEASED, UNCHANGED, RunResult
from pipeline.runners.errors import CannotStart

Run = Callable[..., RunResult]  # pipeline.runners.local.run

USAGE_ERROR = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells count
EXIT_CODE_OF = {RELEASED: 0, UNCHANGED: 0, FAILED: 1, REFUSED: 3}


def main(argv: Sequence[str] | None = None, *, run: Run | None = None) -> int:
    """Does what the command line says.

    Args:
      argv: the words after the program's name; None for the process's own.
      run: the runner; None for the local one.

    Returns:
      The exit code.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        options = arguments.parse(words)
    except SystemExit:  # --help and --version have printed their answer
        return 0
    except UsageError as error:
        return _end_without_result(
            _fresh_run_id(), str(error), USAGE_ERROR, as_json="--json" in words
        )
    return _run(options, run)


def new_run_id(now: datetime.datetime, suffix: str) -> str:
    """Sorts by time, and is unique by its suffix: "20261123T103000Z-3f2a"."""
    return f"{now.astimezone(datetime.timezone.utc):%Y%m%dT%H%M%SZ}-{suffix}"


def _run(options: argparse.Namespace, run: Run | None) -> int:
    started, run_id = time.monotonic(), _fresh_run_id()
    try:
        config = arguments.configuration(options)
        log = _create_log(config, run_id)
        result = _observed(config, run_id, log, options, run or _local_run)
    except ConfigError as error:
        return _end_without_result(run_id, str(error), USAGE_ERROR, as_json=options.json)
    except CannotStart as error:
        return _end_without_result(run_id, error.message, error.exit_code, as_json=options.json)
    except KeyboardInterrupt:
        line = "interrupted; the same command goes on from what is finished"
        return _end_without_result(run_id, line, INTERRUPTED, as_json=options.json)
    result = dataclasses.replace(
        result, log_file=str(log.path), total_seconds=time.monotonic() - started
    )
    _show(result, as_json=options.json)
    return USAGE_ERROR if result.bad_data else EXIT_CODE_OF[result.outcome]


def _fresh_run_id() -> str:
    return new_run_id(datetime.datetime.now(datetime.timezone.utc), os.urandom(2).hex())


def _create_log(config: RunConfig, run_id: str) -> logs.RunLog:
    root = Path(config.pipeline_root)
    try:
        return logs.RunLog.create(root / "logs" / f"{run_id}.log")
    except OSError as error:
        raise ConfigError(
            f"cannot write to the pipeline root {root}: {error.strerror}; "
            "choose another one with --pipeline-root"
        ) from None


def _observed(
    config: RunConfig, run_id: str, log: logs.RunLog, options: argparse.Namespace, run: Run
) -> RunResult:
    """Runs with the libraries' output in the log and the progress on the terminal."""
    with log.capture(show=options.verbose) as real:
        human = real.err if options.json else real.out
        try:
            with terminal.display(human=human, err=real.err, verbose=options.verbose) as observer:
                return run(config, run_id=run_id, observer=observer)
        except CannotStart:
            logging.exception("the run cannot start")  # for -v: the file goes
            log.discard()
            raise
        except Exception as error:  # a bug: a runner turns what can go wrong into a result
            logging.exception("the run ended by an error that nobody expected")
            line = " ".join(str(error).split())
            return RunResult(run_id, FAILED, error=f"{type(error).__name__}: {line}")


def _local_run(config: RunConfig, *, run_id: str, observer: terminal.Display) -> RunResult:
    from pipeline.runners.local import run

    return run(config, run_id=run_id, observer=observer)


def _show(result: RunResult, *, as_json: bool) -> None:
    if as_json:
        _print_json(result)
    human = sys.stderr if as_json or result.outcome == FAILED else sys.stdout
    with _reader_may_be_gone(human):
        write(summary(result), human, colour=wants_colour(human, os.environ.get("NO_COLOR")))


def _end_without_result(run_id: str, message: str, exit_code: int, *, as_json: bool) -> int:
    with _reader_may_be_gone(sys.stderr):
        print(f"{arguments.PROG}: {message}", file=sys.stderr, flush=True)
    if as_json:
        _print_json(RunResult(run_id, FAILED, error=message))
    return exit_code


def _print_json(result: RunResult) -> None:
    with _reader_may_be_gone(sys.stdout):
        print(json.dumps(result.to_dict(), allow_nan=False), flush=True)


@contextlib.contextmanager
def _reader_may_be_gone(stream: TextIO) -> Iterator[None]:
    """A closed pipe (`| head`) is no error of the run: its exit code stays."""
    try:
        yield
    except BrokenPipeError:
        # The interpreter flushes once more at exit, and must find an open end.
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, stream.fileno())
        os.close(devnull)
