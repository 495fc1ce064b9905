"""From the words of a command line to a checked configuration.

    options = parse(["run", "--preset", "fast", "--set", "gate.floor=0.995"])
    config = configuration(options)      # preset, then the YAML file, then flags

Nothing heavy is imported here: `tfx-mnist --help` passes through.
"""

from __future__ import annotations

import argparse
import difflib
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pipeline import config
from pipeline.config import ConfigError, RunConfig
from pipeline.presets import PRESETS

PROG = "tfx-mnist"
DISTRIBUTION = "tfx-mnist"

EXIT_CODES = """\
exit codes:
  0    released, or unchanged: the model is the newest version already
  1    failed: something broke, or another run holds the pipeline root
  2    usage, configuration or data source refused; nothing was written
  3    refused by a gate: what was served stays
  130  interrupted"""


class UsageError(Exception):
    """Words that make no command; the message is one line for the user."""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The options of a command line (without the program's name).

    Returns:
      A namespace with `command`, `json`, `verbose`, `config_file` (str or None), `overrides`
      (pairs of key and value, in the order in which they were given) and `beam_args`.

    Raises:
      UsageError: an unknown command or option (the line names the nearest one), a missing value.
      SystemExit: after `--help` or `--version` has printed its answer.
    """
    top = _parser()
    commands = _commands(top)
    if not argv:
        raise UsageError(f"no command given, expected {_one_of(commands)}; see {PROG} --help")
    if argv[0].startswith("-"):
        top.parse_known_args(argv[:1])  # ends here for --help and --version
        if any(argv[0].partition("=")[0] in _flags(parser) for parser in commands.values()):
            raise UsageError(f"{argv[0]} stands before the command, expected after it")
        raise UsageError(_unknown_option(top, argv[0]))
    if argv[0] not in commands:
        raise UsageError(config.unknown("command", argv[0], commands))
    options, rest = top.parse_known_args(_join_beam_args(argv))
    if rest:
        raise UsageError(_unknown_option(commands[argv[0]], rest[0]))
    return options


def configuration(options: argparse.Namespace) -> RunConfig:
    """What the options ask for: the preset, the YAML file on top, the flags on top of both.

    Raises:
      ConfigError: an unreadable file, an unknown preset or key, a bad value.
    """
    from_file = {} if options.config_file is None else read_file(options.config_file)
    flags = dict(options.overrides)
    if options.beam_args:
        flags["beam_args"] = tuple(options.beam_args)
    files_preset = str(from_file.pop("preset", RunConfig().preset))
    if from_file or files_preset != RunConfig().preset:
        _check_file(options.config_file, files_preset, from_file)
    return config.build(flags.pop("preset", files_preset), {**from_file, **flags})


def read_file(path: str) -> dict[str, Any]:
    """The values of a YAML file by dotted key; an empty file has none.

    Raises:
      ConfigError: the file cannot be read, is not YAML, or holds no mapping.
    """
    import yaml

    try:
        tree = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {_yaml_problem(error)}") from None
    if tree is None:
        return {}
    if not isinstance(tree, Mapping):
        raise ConfigError(
            f"{path} holds a {type(tree).__name__}, expected keys with values, such as 'seed: 3'"
        )
    return config.flatten(tree)


def _check_file(path: str, preset: str, values: Mapping[str, Any]) -> None:
    """Tries the file's part alone, so that its mistakes are reported with its name."""
    try:
        config.build(preset, values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _yaml_problem(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    return f"line {mark.line + 1}, column {mark.column + 1}: {getattr(error, 'problem', None)}"


class _Parser(argparse.ArgumentParser):
    """argparse without abbreviations, and without the usage text in front of every error."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs
        )

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


class _Override(argparse.Action):
    """Appends (key, value) to `overrides`: the order of the command line decides which one wins."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        pair = (self.dest, self.const if self.nargs == 0 else values)
        namespace.overrides = [*namespace.overrides, pair]


class _SetKey(argparse.Action):
    """The same for `--set key=value`."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        key, equals, value = str(values).partition("=")
        if not equals:
            parser.error(f"--set {values!r} has no '=', expected key=value such as gate.floor=0.99")
        namespace.overrides = [*namespace.overrides, (key, value)]


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        print(f"{PROG} {_version()}")
        parser.exit()


def _version() -> str:
    import importlib.metadata  # --help does without it, and it takes a while

    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed: run from a checkout)"


def _parser() -> _Parser:
    parser = _Parser(
        prog=PROG,
        description="From an image data set to a released classifier, with a gate in between.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_run(commands)
    return parser


def _add_run(commands: Any) -> None:
    run = commands.add_parser(
        "run",
        help="run the pipeline: data, training, gate, release",
        description="Runs the pipeline: reads and validates the data, trains, evaluates on the "
        "test split, and\nreleases the model when every check of the gates passes.\n\n"
        "The preset's values come first, then the YAML file's, then those of the flags.",
        epilog=f"keys of --set and of the YAML file:\n{_keys()}\n\n{EXIT_CODES}",
    )
    run.set_defaults(overrides=[])
    add = run.add_argument

    def override(flag: str, metavar: str, text: str) -> None:
        add(flag, action=_Override, metavar=metavar, default=argparse.SUPPRESS, help=text)

    override("--preset", "P", f"where the values start: {_one_of(PRESETS)} (default: quick)")
    override(
        "--dataset",
        "D",
        "mnist_sample (default, no network needed), a tensorflow-datasets name such as mnist or "
        "emnist/balanced, or idx:DIR for a folder with the four IDX files",
    )
    override("--data-dir", "DIR", "tensorflow-datasets' own directory")
    override("--pipeline-root", "DIR", "where the run writes (default: pipeline_root)")
    override("--serving-dir", "DIR", "the directory that the server watches")
    override("--seed", "N", "seed of weights, order and augmentation (default: 0)")
    override("--replicas", "N", "devices that train (default: all GPUs, else one CPU)")
    add(
        "--set",
        action=_SetKey,
        metavar="KEY=VALUE",
        default=argparse.SUPPRESS,
        help="set any key; may be given again",
    )
    add("--config", dest="config_file", metavar="FILE.yaml", help="read keys from a YAML file")
    add(
        "--beam-arg",
        dest="beam_args",
        action="append",
        metavar="ARG",
        default=[],
        help="argument of every Beam pipeline, such as --direct_num_workers=2; may be given again",
    )
    add(
        "--no-cache",
        dest="cache",
        action=_Override,
        nargs=0,
        const=False,
        default=argparse.SUPPRESS,
        help="execute every component anew",
    )
    add("--json", action="store_true", help="print one JSON object on stdout, all else on stderr")
    add("-v", "--verbose", action="store_true", help="show the libraries' logs on stderr")


def _keys() -> str:
    return textwrap.fill(
        ", ".join(["preset", *config.keys()]),
        width=78,
        initial_indent="  ",
        subsequent_indent="  ",
        break_on_hyphens=False,
    )


def _commands(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    (action,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return action.choices


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    return [name for action in parser._actions for name in action.option_strings]


def _join_beam_args(argv: Sequence[str]) -> list[str]:
    """`--beam-arg --x=1` as `--beam-arg=--x=1`: argparse would take `--x` for an option of ours."""
    joined: list[str] = []
    words = iter(argv)
    for word in words:
        value = next(words, None) if word == "--beam-arg" else None
        joined.append(word if value is None else f"{word}={value}")
    return joined


def _unknown_option(parser: argparse.ArgumentParser, word: str) -> str:
    see = f"see {parser.prog} --help"
    if not word.startswith("-"):
        return f"unexpected argument {word!r}: values follow an option; {see}"
    flag = word.partition("=")[0]
    (near,) = difflib.get_close_matches(flag, _flags(parser), n=1, cutoff=0.0)
    return f"unknown option {flag!r}: did you mean {near!r}? {see}"


def _one_of(names: Mapping[str, Any]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
