"""`tfx-mnist run`: runs the pipeline, shows how it goes on, and says what came of it.

    run = command()                    # with the local runner
    run.execute(options)               # the exit code

Nothing heavy is imported before a run begins.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import functools
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.cli import configuration, hparams_file, logs, output, terminal
from pipeline.cli.command import USAGE_ERROR, Command, Parser, local_path
from pipeline.cli.summary import summary, wants_colour
from pipeline.config import ConfigError, RunConfig
from pipeline.result import FAILED, REFUSED, RELEASED, UNCHANGED, RunResult
from pipeline.runners.errors import CannotStart, no_space
from trainer.host import paths
from trainer.host.termination import (
    INTERRUPTED,
    TERMINATED,
    Terminated,
    raise_if_arrived,
    terminable,
)
from trainer.host.text import one_line

# What a run writes below the pipeline root.
_WRITTEN = (
    *("artifacts", "checkpoints", "datasets", "kubeflow", "logs", "reports", "serving", "tuning"),
)

Run = Callable[..., RunResult]  # pipeline.runners.local.run

EXIT_CODES = {
    0: "released, or unchanged: the model is the newest version already",
    1: "failed: something broke, or another run holds the pipeline root",
    2: "usage, configuration or data source refused; nothing was written",
    3: "refused by a gate, or overtaken by another release: what was served stays",
}
EXIT_CODE_OF = {RELEASED: 0, UNCHANGED: 0, FAILED: 1, REFUSED: 3}


def command(run: Run | None = None) -> Command:
    """The command.

    Args:
      run: the runner; None for the local one.
    """
    return Command(
        name="run",
        help="run the pipeline: data, training, gate, release",
        description="Runs the pipeline: reads and validates the data, trains, evaluates on the "
        "test split, and\nreleases the model when every check of the gates passes.\n\n"
        "The preset's values come first, then the YAML file's, those of --hparams, then the flags.",
        notes=f"keys of --set and of the YAML file:\n{configuration.keys()}",
        add_options=add_options,
        execute=functools.partial(execute, run=run or _local_run),
        exit_codes=EXIT_CODES,
        error_object=lambda line: _failed(_fresh_run_id(), line),
    )


def new_run_id(now: datetime.datetime, suffix: str) -> str:
    """Sorts by time, and is unique by its suffix: "20261123T103000Z-3f2a"."""
    return f"{now.astimezone(datetime.timezone.utc):%Y%m%dT%H%M%SZ}-{suffix}"


def add_options(parser: Parser) -> None:
    """Adds the options that `execute` reads."""
    configuration.add_options(parser)
    parser.add_argument(
        "--save-hparams",
        metavar="FILE",
        type=local_path,
        help="write the hyper-parameters that were trained with, for --hparams",
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="show the libraries' logs on stderr"
    )


def execute(options: argparse.Namespace, run: Run) -> int:
    """Runs, shows how it goes on and what came of it; returns the exit code."""
    started, run_id = time.monotonic(), _fresh_run_id()
    config = configuration.configuration(options)
    if options.save_hparams is not None:
        hparams_file.require_writable(Path(options.save_hparams))
    _require_places(config)
    log = _create_log(config, run_id)
    result = RunResult(run_id, FAILED)
    try:
        with terminable():
            result = _observed(config, run_id, log, options, run)
            result = dataclasses.replace(
                result, log_file=str(log.path), total_seconds=time.monotonic() - started
            )
            raise_if_arrived()
            if options.save_hparams is not None and result.hparams is not None:
                _save_hparams(result.hparams, Path(options.save_hparams))
            report = _write_report(result, Path(config.pipeline_root))
            result = dataclasses.replace(result, report=report)
    except (KeyboardInterrupt, Terminated) as end:
        return _ended_early(result, end, as_json=options.json)
    _show(result, as_json=options.json)
    return USAGE_ERROR if result.bad_data else EXIT_CODE_OF[result.outcome]


def _ended_early(known: RunResult, end: BaseException, *, as_json: bool) -> int:
    """Says of a run that a signal has ended what it had done by then; returns the exit code."""
    terminated = isinstance(end, Terminated)
    line, exit_code = ("terminated", TERMINATED) if terminated else ("interrupted", INTERRUPTED)
    if known.outcome == RELEASED and known.release is not None:
        line += f" after version {known.release.version} was released in {known.release.path}"
    line += "; the same command goes on from what is finished"
    fields = dataclasses.replace(known, error=line).to_dict() if as_json else None
    return output.fail(line, exit_code, fields)


def _fresh_run_id() -> str:
    return new_run_id(datetime.datetime.now(datetime.timezone.utc), os.urandom(2).hex())


def _failed(run_id: str, line: str) -> Mapping[str, Any]:
    return RunResult(run_id, FAILED, error=line).to_dict()


def _require_places(config: RunConfig) -> None:
    """Refuses directories that cannot be written to, before the first of them is made."""
    root = Path(config.pipeline_root)
    try:
        paths.require_directory("pipeline_root", root)
        for name in _WRITTEN:
            paths.require_directory("pipeline_root", root / name)
        if config.serving_dir is not None:
            paths.require_directory("serving_dir", config.serving_dir)
    except ValueError as error:
        raise ConfigError(str(error)) from None


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
            raise_if_arrived()
            logging.exception("the run ended by an error that nobody expected")
            line = no_space(error, config.pipeline_root) or one_line(error)
            return RunResult(run_id, FAILED, error=line)


def _local_run(config: RunConfig, *, run_id: str, observer: terminal.Display) -> RunResult:
    from pipeline.runners.local import run

    return run(config, run_id=run_id, observer=observer)


def _save_hparams(hparams: Mapping[str, Any], path: Path) -> None:
    """Writes them; a file that cannot be written changes nothing of the outcome."""
    try:
        hparams_file.save(hparams, path)
    except OSError as error:
        output.complain(f"cannot save the hyper-parameters to {path}: {error.strerror}")


def _write_report(result: RunResult, root: Path) -> str | None:
    """The page's path; None where it cannot be written, which changes nothing of the outcome."""
    path = root / "reports" / f"{result.run_id}.html"
    try:
        from pipeline import report

        report.write(result, path)
    except Exception as error:
        raise_if_arrived()
        line = one_line(error)
        output.complain(f"the report {path} cannot be written: {line}; the outcome stands")
        return None
    return str(path)


def _show(result: RunResult, *, as_json: bool) -> None:
    if as_json:
        output.say_json(result.to_dict())
    human = sys.stderr if as_json or result.outcome == FAILED else sys.stdout
    output.write(summary(result), human, colour=wants_colour(human, os.environ.get("NO_COLOR")))
