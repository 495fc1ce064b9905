"""Which serving directory a command is about.

    add_options(parser)
    serving_dir(parser.options(["--dataset", "mnist"]))     # pipeline_root/serving/mnist

Like everything that answers at once, it does not import TensorFlow.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from components.example_gen.errors import DataError
from components.example_gen.spec import parse_dataset, slug
from pipeline.cli.command import Parser, UsageError, local_path
from pipeline.config import SERVING, RunConfig


def add_options(parser: Parser) -> None:
    """Adds the options that `serving_dir` reads."""
    parser.add_argument(
        "--serving-dir",
        metavar="DIR",
        type=local_path,
        help="the directory that the server watches",
    )
    parser.add_argument(
        "--dataset",
        metavar="D",
        help="the directory that `run` releases this data set to, below --pipeline-root",
    )
    parser.add_argument(
        "--pipeline-root",
        metavar="DIR",
        type=local_path,
        default=RunConfig().pipeline_root,
        help="where `run` writes (default: %(default)s); without --serving-dir and --dataset, its "
        "only serving directory is taken",
    )


def serving_dir(options: argparse.Namespace) -> Path:
    """The directory that the options name.

    Raises:
      UsageError: there is no such directory, or there are several; the line lists them.
    """
    if options.serving_dir is not None:
        return _existing(Path(options.serving_dir))
    home = Path(options.pipeline_root) / SERVING
    present = _directories_in(home)
    if options.dataset is not None:
        return _of_dataset(options.dataset, home, present)
    if not present:
        raise UsageError(
            f"there is no serving directory in {home}: release a model with `tfx-mnist run`, or "
            "give --pipeline-root or --serving-dir"
        )
    if len(present) > 1:
        raise UsageError(
            f"there are {len(present)} serving directories, expected one: choose with --dataset or "
            f"--serving-dir; {_listed(present)}"
        )
    return present[0]


def _existing(path: Path) -> Path:
    if not os.path.isdir(path):  # `Path`'s own raises for a name that is too long
        actual = "is no directory" if os.path.exists(path) else "does not exist"
        raise UsageError(f"the serving directory {path} {actual}: give another --serving-dir")
    return path


def _of_dataset(text: str, home: Path, present: Sequence[Path]) -> Path:
    try:
        spec = parse_dataset(text)
    except DataError as error:
        raise UsageError(str(error)) from error
    expected = home / slug(spec.full_name)
    # A set that has configurations is never released under its bare name, so there is none to ask.
    if spec.kind == "idx" or expected not in present:
        from components.example_gen.naming import name_of  # NumPy stands behind it

        try:
            expected = home / slug(name_of(spec, data_dir=None))
        except DataError as error:
            raise UsageError(
                f"{error}; or choose with --serving-dir: {_listed(present)}"
            ) from error
    if expected not in present:
        raise UsageError(
            f"the data set {text} has no serving directory {expected}: choose another --dataset, "
            f"or give --serving-dir; {_listed(present)}"
        )
    return expected


def _directories_in(home: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(home))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(
            f"cannot read {home}: {error.strerror}; give another --pipeline-root"
        ) from error
    return [home / name for name in names if not name.startswith(".") and (home / name).is_dir()]


def _listed(present: Sequence[Path]) -> str:
    if not present:
        return "there is none yet"
    return f"there {'is' if len(present) == 1 else 'are'} {', '.join(map(str, present))}"
