"""Which serving directory a command is about, and what is said when that is not clear."""

from pathlib import Path

import click
import pytest

from components.example_gen.data_error import DataError
from pipeline.cli.command import UsageError
from pipeline.cli.main import COMMANDS, main
from pipeline.cli.serving import options
from tests.components.serving_dir.samples import publish_letters
from tests.refusals import refusal_of
from tests.trainer.host.test_paths import ordinary_user
from trainer.host.errors import Refusal

Captured = pytest.CaptureFixture[str]


def chosen(*words: object) -> Path:
    command = click.command(options(lambda directory: directory))
    with command.make_context("versions", list(map(str, words))) as ctx:
        return command.invoke(ctx)


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("approve", ["--by", "--reason"]),
        ("reject", ["--by", "--reason"]),
        ("rollback", ["--reason"]),
        ("prune", ["--keep", "--dry-run"]),
        ("predict", ["--version"]),
        ("versions", []),
    ],
)
def test_what_a_command_alone_takes_comes_first_in_its_help(name: str, own: list[str]) -> None:
    command = COMMANDS.get_command(click.Context(COMMANDS), name)
    options = [one.opts[0] for one in command.params if isinstance(one, click.Option)]
    assert options[: len(own) + 1] == [*own, "--serving-dir"]


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / "serving" / name).mkdir(parents=True)
    return root / "serving"


def test_a_given_directory_is_taken_whatever_else_is_given(root: Path, tmp_path: Path) -> None:
    make(root, "mnist")
    words = ("--serving-dir", tmp_path, "--dataset", "mnist", "--pipeline-root", root)
    assert chosen(*words) == tmp_path


def test_a_version_is_not_taken_for_the_directory_of_versions(tmp_path: Path) -> None:
    publish_letters(tmp_path, "a")
    with pytest.raises(Refusal, match=r"/1 is version 1 itself: give "):
        chosen("--serving-dir", tmp_path / "1")


def test_one_that_this_user_may_not_see_is_not_said_to_be_missing(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    with (
        ordinary_user(),
        pytest.raises(UsageError, match=r"cannot be read \(Permission denied\): "),
    ):
        chosen("--serving-dir", tmp_path / "closed" / "serving")


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("mnist", "mnist"),
        ("mnist_sample", "mnist_sample"),
        ("emnist", "emnist_byclass"),
        ("emnist/balanced", "emnist_balanced"),
        ("emnist/balanced:3.1.0", "emnist_balanced"),
        ("cifar10:3.0.2", "cifar10"),
    ],
)
def test_a_data_set_has_its_directory(dataset: str, name: str, root: Path) -> None:
    home = make(root, name, "another")
    assert chosen("--dataset", dataset, "--pipeline-root", root) == home / name


def test_it_is_the_directory_that_a_run_releases_to(root: Path, thirds: str) -> None:
    from pipeline.config_model import build
    from pipeline.run_plan import make_plan

    for dataset in ("mnist_sample", thirds):
        given = {"pipeline_root": str(root), "dataset": dataset, "gate.floor": 0.9, "reason": "any"}
        plan = make_plan(build("quick", given), run_id="r")
        Path(plan.serving_dir).mkdir(parents=True)
        words = ("--dataset", dataset, "--pipeline-root", root)
        assert str(chosen(*words)) == plan.serving_dir


def test_the_only_one_is_taken(root: Path) -> None:
    home = make(root, "mnist", ".hidden")
    (home / "a file").touch()
    assert chosen("--pipeline-root", root) == home / "mnist"


def test_the_only_one_with_versions_is_taken(root: Path) -> None:
    home = make(root, "emnist", "kmnist")  # of runs that were refused
    publish_letters(home / "mnist", "a")
    assert chosen("--pipeline-root", root) == home / "mnist"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["--serving-dir", "ROOT/none"],
            "the serving directory ROOT/none does not exist: give another --serving-dir",
        ),
        (
            ["--serving-dir", "ROOT/file"],
            "the serving directory ROOT/file is no directory: give another --serving-dir",
        ),
        (
            ["--pipeline-root", "ROOT"],
            "there are 2 serving directories, expected one: choose with --dataset or --serving-dir;"
            " there are ROOT/serving/emnist_byclass, ROOT/serving/idx_mine_0a1b2c3d",
        ),
        (
            ["--pipeline-root", "ROOT", "--dataset", "kmnist"],
            "the data set kmnist has no serving directory ROOT/serving/kmnist: choose another "
            "--dataset, or give --serving-dir; there are ROOT/serving/emnist_byclass, "
            "ROOT/serving/idx_mine_0a1b2c3d",
        ),
        (
            ["--pipeline-root", "ROOT", "--dataset", "idx:ROOT/mine"],
            "idx:ROOT/mine: there is no such directory; or choose with --serving-dir: there are "
            "ROOT/serving/emnist_byclass, ROOT/serving/idx_mine_0a1b2c3d",
        ),
        (
            ["--pipeline-root", "ROOT", "--dataset", "MNIST!"],
            "dataset is 'MNIST!', expected mnist_sample (5,000 images of MNIST, no network "
            "needed), idx:DIR (a folder with the four IDX files), folder:DIR (images in one folder "
            "per class), csv:FILE (a CSV or Parquet table of image files and labels) or a "
            "tensorflow-datasets name "
            "(such as mnist, emnist/balanced or cifar10:3.0.2)",
        ),
        (
            ["--pipeline-root", "ROOT/one", "--dataset", "kmnist"],
            "the data set kmnist has no serving directory ROOT/one/serving/kmnist: choose another "
            "--dataset, or give --serving-dir; there is ROOT/one/serving/mnist",
        ),
        (
            ["--pipeline-root", "ROOT/none"],
            "there is no serving directory in ROOT/none/serving: release a model with "
            "`tfx-mnist run`, or give --pipeline-root or --serving-dir",
        ),
        (
            ["--pipeline-root", "ROOT/none", "--dataset", "mnist"],
            "the data set mnist has no serving directory ROOT/none/serving/mnist: choose another "
            "--dataset, or give --serving-dir; there is none yet",
        ),
        (
            ["--pipeline-root", "ROOT/file"],
            "cannot read ROOT/file/serving: Not a directory; give another --pipeline-root",
        ),
    ],
)
def test_what_cannot_be_chosen_is_refused_in_one_line(
    words: list[str], line: str, root: Path
) -> None:
    make(root, "emnist_byclass", "idx_mine_0a1b2c3d")
    make(root / "one", "mnist")
    (root / "file").touch()
    words = [word.replace("ROOT", str(root)) for word in words]
    said = refusal_of((UsageError, DataError), chosen, *words)
    assert said == line.replace("ROOT", str(root))


@pytest.mark.parametrize(
    "command",
    [
        ["versions"],
        ["verify"],
        ["rollback", "--reason", "r"],
        ["prune", "--keep", "1"],
        ["predict", "x"],
    ],
)
def test_every_command_ends_with_2_without_a_directory(
    command: list[str], root: Path, capfd: Captured
) -> None:
    assert main([*command, "--pipeline-root", str(root)]) == 2
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("tfx-mnist: there is no serving directory in ")
    assert shown.err.count("\n") == 1
    assert not root.exists()
