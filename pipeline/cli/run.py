"""`tfx-mnist run`: runs the pipeline, shows its progress, and prints the result."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from pipeline import hooks, records
from pipeline.cli import command, configuration, logs, output, terminal, written_files
from pipeline.cli.command import verbose
from pipeline.cli.configuration import Given, pass_given
from pipeline.cli.option_types import WRITTEN_FILE
from pipeline.cli.summary import summary
from pipeline.cli.written_files import CiFiles, require_writable
from pipeline.config import ConfigError, RunConfig
from pipeline.places import require_places
from pipeline.result import FAILED, HELD, RELEASED, ExitCode, RunResult
from pipeline.runners.failures import CannotStart, limit_reached, no_space
from pipeline.runners.observer import Observer
from trainer.host.files import write_durably
from trainer.host.termination import Terminated, raise_if_arrived, terminable
from trainer.host.text import first_line, one_line

Runner = Callable[..., RunResult]  # pipeline.runners.local.run

# What `command` takes.
EXIT_CODES = {
    "done": "released; held, with --hold; or unchanged: the model is the newest version already",
    "failed": "failed: something broke, or another run holds the pipeline root",
    "usage": "usage, configuration or data source refused; no example and no version was written",
    "refused": "refused by a gate, or overtaken by another release: the served version stays",
}


def options(function: Callable[..., int], *, without: Collection[str] = ()) -> Callable[..., int]:
    """Adds the options of a run, `without` some; the function takes them as `execute` does."""
    text = "Write the hyper-parameters of the training, for --hparams."
    save = command.option("--save-hparams", "FILE", text, type=WRITTEN_FILE)
    files = written_files.options("run")
    return configuration.options(without=without)(save(files(verbose(pass_given(function)))))


def failed(line: str) -> Mapping[str, Any]:
    """Returns what `--json` prints for a run that could not begin."""
    return RunResult(_new_run_id(), FAILED, error=line).to_dict()


@command.command(**EXIT_CODES, error_object=failed)
@options
@click.pass_context
def run(ctx: click.Context, given: Given, /, **values: Any) -> int:
    """Runs the pipeline: data, training, gate, release.

    Reads and validates the data, trains, evaluates on the test split, and releases the model when
    every check of the gates passes.

    Values come from the preset, the file of --config, the file of --hparams and the flags; the last
    one wins.
    """
    return execute(given, ctx.find_root().obj or _local_run, **values)


def execute(
    given: Given,
    run: Runner,
    *,
    ci_files: CiFiles,
    save_hparams: Path | None,
    verbose: bool,
    again: str = "goes on from what is finished",
) -> int:
    """Runs the pipeline, shows progress and result, and returns the exit code.

    `again` says what the same command does after a signal has ended this one.
    """
    started, run_id = time.monotonic(), _new_run_id()
    as_json = command.as_json(click.get_current_context())
    config = given.configuration()
    hooks.require_programs(config.hooks)
    require_places(config)
    if save_hparams is not None:
        require_writable("--save-hparams", "the hyper-parameters", save_hparams)
    log = _create_log(config, run_id)
    result = RunResult(run_id, FAILED)
    try:
        with terminable():
            result = _started(config, run_id, log, run, verbose=verbose, as_json=as_json)
            result = dataclasses.replace(
                result, log_file=str(log.path), total_seconds=time.monotonic() - started
            )
            raise_if_arrived()
            if save_hparams is not None and result.hparams is not None:
                _save_hparams(result.hparams, save_hparams)
            ci_files.write(result.checks, error=result.error)
            report = _write_report(result, config)
            result = dataclasses.replace(result, report=report)
            _record(result, Path(config.pipeline_root))
            _tell(config, result, log.path)
    except (KeyboardInterrupt, Terminated) as end:
        result = dataclasses.replace(result, total_seconds=time.monotonic() - started)
        return _ended_early(result, end, again, Path(config.pipeline_root), as_json=as_json)
    _show(result, as_json=as_json)
    return result.exit_code


def _ended_early(
    known: RunResult, end: BaseException, again: str, root: Path, *, as_json: bool
) -> int:
    line, exit_code = "interrupted", ExitCode.INTERRUPTED
    if isinstance(end, Terminated):
        line, exit_code = "terminated", ExitCode.TERMINATED
    stays = {RELEASED: known.release, HELD: known.pending}.get(known.outcome)
    if stays is not None:
        line += f" {stays.said}"
    line += f"; the same command {again}"
    ended = dataclasses.replace(known, error=line)
    with contextlib.suppress(OSError):  # the outcome is said, and its record is not worth a wait
        records.write(ended, root / records.REPORTS)
    output.fail(line, ended.to_dict() if as_json else None)
    return exit_code


def _new_run_id() -> str:
    """Returns an id that sorts by time: "20261123T103000Z-3f2a"."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return f"{now:%Y%m%dT%H%M%SZ}-{os.urandom(2).hex()}"


def _create_log(config: RunConfig, run_id: str) -> logs.RunLog:
    root = Path(config.pipeline_root)
    try:
        return logs.RunLog.create(root / "logs" / f"{run_id}.log")
    except OSError as error:
        raise ConfigError(
            f"cannot write to the pipeline root {root}: {error.strerror}; "
            "choose another one with --pipeline-root"
        ) from None


def _started(config: RunConfig, run_id: str, *args: Any, **settings: Any) -> RunResult:
    """Does what `_observed` does, and tells the hook of a run that cannot start."""
    try:
        return _observed(config, run_id, *args, **settings)
    except Exception as error:
        _tell(config, RunResult(run_id, FAILED, error=first_line(error)), None)
        raise


def _tell(config: RunConfig, result: RunResult, log: Path | None) -> None:
    output.tell_hook(config.hooks, result.outcome, result.to_dict(), log)


def _observed(
    config: RunConfig, run_id: str, log: logs.RunLog, run: Runner, *, verbose: bool, as_json: bool
) -> RunResult:
    with logs.captured(log.path, show=verbose) as real:
        human = real.err if as_json else real.out
        try:
            with terminal.display(human=human, err=real.err, verbose=verbose) as observer:
                return run(config, run_id=run_id, observer=observer)
        except CannotStart:
            logging.exception("the run cannot start")  # for -v: the file goes
            log.discard()
            raise
        except Exception as error:  # a bug: a runner turns what can go wrong into a result
            raise_if_arrived()
            logging.exception("the run ended by an unexpected error")
            line = no_space(error, config) or limit_reached(error) or one_line(error)
            return RunResult(run_id, FAILED, error=line)


def _local_run(config: RunConfig, *, run_id: str, observer: Observer) -> RunResult:
    from pipeline.runners.local import run

    return run(config, run_id=run_id, observer=observer)


def _save_hparams(hparams: Mapping[str, Any], path: Path) -> None:
    try:
        write_durably(path, json.dumps(dict(hparams), indent=2) + "\n")
    except OSError as error:
        output.complain(f"cannot save the hyper-parameters to {path}: {error.strerror}")


def _write_report(result: RunResult, config: RunConfig) -> str | None:
    path = Path(config.pipeline_root) / records.REPORTS / f"{result.run_id}.html"
    try:
        from pipeline import report
        from pipeline.report import gallery

        report.write(result, path, _paths_of(gallery.files(result), config))
    except Exception as error:
        raise_if_arrived()
        line = one_line(error)
        output.complain(f"the report {path} cannot be written: {line}; the outcome stands")
        return None
    return str(path)


def _paths_of(files: Collection[str], config: RunConfig) -> Mapping[str, Sequence[str]]:
    """Returns the paths of files that pictures show, as far as they are there still."""
    if not files:
        return {}
    from components.example_gen.data_error import DataError
    from components.example_gen.opening import open_dataset

    try:
        # It was opened when the run began, and is kept where its files are the same.
        return open_dataset(config.dataset, config.data, data_dir=config.data_dir).paths_of(files)
    except DataError as error:
        output.complain(f"the report names no files: {error}")
        return {}


def _record(result: RunResult, root: Path) -> None:
    """Writes the run's record, and the page of all runs."""
    try:
        from pipeline.report import index

        records.write(result, root / records.REPORTS)
        index.write(root)
    except Exception as error:
        raise_if_arrived()
        if result.report is None:  # said already
            return
        output.complain(
            f"the list of runs in {root / records.REPORTS} cannot be written: {one_line(error)}; "
            "the outcome stands"
        )


def _show(result: RunResult, *, as_json: bool) -> None:
    if as_json:
        output.say_json(result.to_dict())
    human = sys.stderr if as_json or result.failed else sys.stdout
    output.write(summary(result), human)
