"""`tfx-mnist`: the console script, where all errors end.

Each command is a module of this package, which is imported when it is used, so `tfx-mnist --help`
answers at once.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import warnings
from collections.abc import Callable, Sequence

import click

from pipeline.cli import output
from pipeline.cli.command import Command, CommandGroup, UsageError
from pipeline.cli.configuration import SetOption
from pipeline.cli.output import PROG
from pipeline.result import ExitCode, RunResult
from pipeline.runners.failures import limit_reached
from trainer.environment import collect_seldom
from trainer.host.errors import UserError
from trainer.host.registry import PluginError
from trainer.host.termination import Terminated, terminable
from trainer.host.text import quoted

_COMPLETE = "_TFX_MNIST_COMPLETE"  # what click's scripts for the shells set


def _show_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    import importlib.metadata  # --help does without it, and it takes a while

    try:
        version = importlib.metadata.version(PROG)
    except importlib.metadata.PackageNotFoundError:
        version = "(not installed: run from a checkout)"
    output.say([f"{PROG} {version}"])
    ctx.exit()


COMMANDS = CommandGroup(
    PROG,
    "Trains image classifiers, and releases those that pass a gate.",
    {
        "run": "pipeline.cli.run:run",
        "worker": "pipeline.cli.worker:worker",
        "doctor": "pipeline.cli.doctor:doctor",
        "runs": "pipeline.cli.runs:runs",
        "versions": "pipeline.cli.versions:versions",
        "approve": "pipeline.cli.approval:approve",
        "reject": "pipeline.cli.approval:reject",
        "lineage": "pipeline.cli.lineage:lineage",
        "rollback": "pipeline.cli.versions:rollback",
        "prune": "pipeline.cli.versions:prune",
        "verify": "pipeline.cli.versions:verify",
        "predict": "pipeline.cli.predict:predict",
        "monitor": "pipeline.cli.monitor:monitor",
        "config": CommandGroup(
            "config",
            "Describes the configuration of a run.",
            {
                "keys": "pipeline.cli.config_help:keys",
                "schema": "pipeline.cli.config_help:schema",
            },
        ),
        "gate": CommandGroup(
            "gate",
            "Uses the release gate without a run.",
            {
                "check": "pipeline.cli.gate_check:check",
                "simulate": "pipeline.cli.gate_simulate:simulate",
            },
        ),
        "kubeflow": CommandGroup(
            "kubeflow",
            "Compiles the pipeline for Kubeflow Pipelines and runs it.",
            {
                "compile": "pipeline.cli.kubeflow_compile:compile_",
                "local": "pipeline.cli.kubeflow_local:local",
                "submit": "pipeline.cli.kubeflow_api:submit",
                "schedule": "pipeline.cli.kubeflow_api:schedule",
                "schedules": "pipeline.cli.kubeflow_api:schedules",
                "unschedule": "pipeline.cli.kubeflow_api:unschedule",
                "status": "pipeline.cli.kubeflow_api:status",
            },
        ),
    },
    exit_codes={
        ExitCode.DONE: "released, held, unchanged, or done",
        ExitCode.FAILED: "failed: something broke or is damaged, another run holds the pipeline "
        "root, or the output cannot be written",
        ExitCode.USAGE: "usage, configuration or data source refused; no example and no "
        "version was written",
        ExitCode.REFUSED: "refused by a gate, or overtaken by another release: the served "
        "version stays",
    },
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_version,
            help="Show the version and exit.",
        )
    ],
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(argv: Sequence[str] | None = None, *, run: Callable[..., RunResult] | None = None) -> int:
    """Runs a command line, by default that of the process, and returns the exit code.

    `run` replaces the local runner.
    """
    collect_seldom()
    _tolerate_warnings()
    words = sys.argv[1:] if argv is None else list(argv)
    with output.standard():
        if instruction := os.environ.get(_COMPLETE):
            from click.shell_completion import shell_complete

            return shell_complete(COMMANDS, {}, PROG, _COMPLETE, instruction)
        return _execute(words, run)


def _tolerate_warnings() -> None:
    """Lets TFX and its libraries warn while they are imported, though PYTHONWARNINGS is `error`."""
    if any(option.startswith("e") for option in sys.warnoptions):  # Python takes a part of the word
        os.environ.pop("PYTHONWARNINGS", None)  # of child processes
        warnings.simplefilter("default")


def _execute(words: list[str], run: Callable[..., RunResult] | None) -> int:
    exit_code: int
    try:
        if sys.flags.optimize > 1:
            raise UsageError(
                "Python leaves out docstrings, of which TensorFlow, Beam and --help make use: "
                "unset PYTHONOPTIMIZE, or set it to 1"
            )
        with terminable(), COMMANDS.make_context(PROG, list(words), obj=run) as ctx:
            return int(COMMANDS.invoke(ctx))
    except click.exceptions.Exit:  # --help or --version has answered
        return output.end(ExitCode.DONE, shows=True)
    except click.UsageError as error:
        line, exit_code = usage_line(error), ExitCode.USAGE
    except UserError as error:
        line, exit_code = str(error), error.exit_code
    except Exception as error:
        line, exit_code = limit_reached(error) or _system_line(error), ExitCode.FAILED
        if not line:
            raise
    except KeyboardInterrupt:
        line, exit_code = "interrupted", ExitCode.INTERRUPTED
    except Terminated:
        line, exit_code = "terminated", ExitCode.TERMINATED
    command = _chosen(words)
    if command and exit_code in (ExitCode.INTERRUPTED, ExitCode.TERMINATED):
        line += command.after_a_signal
    fields = command.error_object(line) if command else {"error": line}
    as_json = "--json" in itertools.takewhile("--".__ne__, words)
    output.fail(line, fields if as_json else None)
    return output.end(exit_code, shows=False)


def _system_line(error: Exception) -> str:
    """Returns the line for an error of the operating system; "" for a bug."""
    if not isinstance(error, OSError):
        return ""
    if error.filename:
        return f"{error.strerror or error} ({quoted(str(error.filename))})"
    try:
        os.getcwd()
    except FileNotFoundError:
        return "the working directory was removed: change to one that exists, and try again"
    return str(error.strerror or error)


def _chosen(words: Sequence[str]) -> Command | None:
    """Returns the command that the first words name; None if they name none."""
    member: click.Command | None = COMMANDS
    for word in words:
        if not isinstance(member, CommandGroup):
            break
        member = member.get_command(click.Context(member), word)
    return member if isinstance(member, Command) else None


def usage_line(error: click.UsageError) -> str:
    """Returns the one-line message for words that click refuses."""
    see = f"see {error.ctx.command_path} --help" if error.ctx else ""
    if isinstance(error, click.NoSuchOption) and error.ctx:
        return _no_such_option(error, error.ctx, see)
    message = error.format_message().rstrip(".")
    message = f"{message[:1].lower()}{message[1:]}"
    param = getattr(error, "param", None)
    if param is not None:
        is_option = isinstance(param, click.Option)
        name = max(param.opts, key=len) if is_option else (param.metavar or "").strip("[].")
        is_missing = isinstance(error, click.MissingParameter)
        message = f"{name} {'is missing' if is_missing else error.message}"
    return f"{message}; {see}".rstrip("; ")


def _no_such_option(error: click.NoSuchOption, ctx: click.Context, see: str) -> str:
    flag, command = error.option_name, ctx.command
    if isinstance(command, CommandGroup):
        members = [command.get_command(ctx, name) for name in command.members]
        if any(flag in one.opts for member in members if member for one in member.params):
            return f"{flag} stands before the command, expected after it"
    options = list(error.possibilities or ())
    same = [one for one in options if one == flag.replace("_", "-")]
    near = same or _keys_named(flag, command) or options[:1]
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return f"unknown option {quoted(flag)}: {hint}{see}"


def _keys_named(flag: str, command: click.Command) -> list[str]:
    """Returns how to set the keys that a flag names, if the command takes them."""
    takes = [one for one in command.params if isinstance(one, SetOption)]
    name = flag.lstrip("-").replace("-", "_")
    with contextlib.suppress(PluginError):  # the command itself says so
        known = [key for one in takes for key in one.takes()]
        return [f"--set {key}" for key in known if name in (key, key.rpartition(".")[2])]
    return []
