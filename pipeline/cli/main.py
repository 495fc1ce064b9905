"""`tfx-mnist`: the console script.

    raise SystemExit(main(["run", "--preset", "quick"]))

Each command is a module of this package. Here they come together, and here their errors end.
Nothing heavy is imported: `tfx-mnist --help` passes through.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from typing import Any

from components.serving_dir import ServingDirError
from pipeline.cli import (
    gate_check,
    gate_simulate,
    kubeflow,
    output,
    predict,
    prune,
    rollback,
    streams,
    verify,
    versions,
    worker,
)
from pipeline.cli.command import (
    FAILED,
    PROG,
    USAGE_ERROR,
    Answered,
    Command,
    CommandError,
    Group,
    Parser,
    choose,
)
from pipeline.cli.run import Run
from pipeline.cli.run import command as run_command
from pipeline.config import ConfigError
from pipeline.runners.errors import CannotStart
from trainer.garbage import collect_seldom
from trainer.host.termination import INTERRUPTED, TERMINATED, Terminated, terminable
from trainer.host.text import quoted

DISTRIBUTION = "tfx-mnist"


def main(argv: Sequence[str] | None = None, *, run: Run | None = None) -> int:
    """Does what the command line says.

    Args:
      argv: the words after the program's name; None for the process's own.
      run: the runner; None for the local one.

    Returns:
      The exit code.
    """
    collect_seldom()
    words = sys.argv[1:] if argv is None else list(argv)
    with streams.standard(), output.complaining():
        return _execute(words, run)


def _execute(words: list[str], run: Run | None) -> int:
    command: Command | None = None
    try:
        chosen = choose(commands(run), words)
        command = chosen.command
        with terminable():
            options = chosen.options()
            exit_code = command.execute(options)
        return output.end(exit_code, shows=command.shows(options))
    except Answered:
        return output.end(0, shows=True)
    except (CommandError, CannotStart) as error:
        line, exit_code = str(error), error.exit_code
    except ConfigError as error:
        line, exit_code = str(error), USAGE_ERROR
    except ServingDirError as error:
        line, exit_code = str(error), FAILED
    except OSError as error:
        where = f" ({quoted(str(error.filename))})" if error.filename else ""
        line, exit_code = f"{error.strerror or error}{where}", FAILED
    except KeyboardInterrupt:
        line, exit_code = f"interrupted{command.after_a_signal if command else ''}", INTERRUPTED
    except Terminated:
        line, exit_code = f"terminated{command.after_a_signal if command else ''}", TERMINATED
    fields = command.error_object(line) if command else {"error": line}
    as_json = "--json" in itertools.takewhile("--".__ne__, words)
    exit_code = output.fail(line, exit_code, fields if as_json else None)
    return output.end(exit_code, shows=False)


def commands(run: Run | None = None) -> Group:
    """Every command, in the order of the help; `run` as in `main`."""
    return Group(
        name=PROG,
        help="from an image data set to a released classifier, with a gate in between",
        members=(
            run_command(run),
            worker.COMMAND,
            versions.COMMAND,
            rollback.COMMAND,
            prune.COMMAND,
            verify.COMMAND,
            predict.COMMAND,
            Group(
                name="gate",
                help="the release gate by itself: what it would say, and how sure it is",
                members=(gate_check.COMMAND, gate_simulate.COMMAND),
            ),
            kubeflow.GROUP,
        ),
        exit_codes={
            0: "released, unchanged, or done",
            1: "failed: something broke or is damaged, another run holds the pipeline root, or an "
            "answer cannot be written",
            2: "usage, configuration or data source refused; nothing was written",
            3: "refused by a gate, or overtaken by another release: what was served stays",
        },
        add_options=_add_version,
    )


def _add_version(parser: Parser) -> None:
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        output.say([f"{PROG} {_version()}"])
        parser.exit()


def _version() -> str:
    import importlib.metadata  # --help does without it, and it takes a while

    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed: run from a checkout)"
