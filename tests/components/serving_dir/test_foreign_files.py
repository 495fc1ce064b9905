"""What stands in the place of a file of the serving directory: FIFOs, devices, loops, too much."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from components.serving_dir import (
    LOCK_NAME,
    LOG_NAME,
    MANIFEST_NAME,
    ServingDirError,
    digest_of,
    publish,
    versions,
)
from components.serving_dir.manifest import MAX_MANIFEST_BYTES
from components.serving_dir.model_files import MAX_FILE_BYTES
from tests.components.serving_dir.samples import publish_letters
from tests.limits import limited
from tests.trainer.host.test_files import STAND_INS

pytestmark = pytest.mark.once  # what the system gives us, and what we make of it

# Every command that reads versions, on a serving directory of which version 2 is odd.
COMMANDS = """
import sys
from pathlib import Path
from components.serving_dir import check_manifest
from pipeline.cli.main import main
serving = sys.argv[1]
problems = check_manifest(Path(serving, "2"))[1]
codes = [
    main([*words.split(), "--serving-dir", serving])
    for words in ("versions", "verify", "rollback --reason r", "prune --keep 1")
]
print(codes)
print(problems)
"""
FILE = "saved_model.pb"


def large(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 42)  # sparse: hashing it would take an hour


@pytest.fixture
def serving(tmp_path: Path) -> Path:
    publish_letters(tmp_path / "serving", "abc")
    return tmp_path / "serving"


def replace(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


@pytest.mark.parametrize(
    "name", ["FIFO", "endless device", "loop", "socket", "directory", "sparse file"]
)
@pytest.mark.parametrize("place", [MANIFEST_NAME, FILE])
def test_what_is_no_file_of_a_version_is_damage_and_stops_no_command(
    name: str, place: str, serving: Path
) -> None:
    replace(serving / "2" / place, STAND_INS[name][0])
    done = limited(COMMANDS, serving)
    assert (done.returncode, done.stdout.splitlines()[-2]) == (0, "[0, 1, 0, 0]")
    problem = done.stdout.splitlines()[-1]
    said = STAND_INS[name][1].removesuffix("100")  # the bound in the tests of the reading itself
    assert (said if place == MANIFEST_NAME else repr(place)) in problem
    assert "Traceback" not in done.stderr


def test_a_file_of_another_size_is_damage_without_being_read(serving: Path) -> None:
    replace(serving / "2" / FILE, large)
    done = limited(COMMANDS, serving)
    assert done.stdout.splitlines()[-2] == "[0, 1, 0, 0]"
    assert f"file '{FILE}' has {1 << 42} bytes, expected 1" in done.stdout.splitlines()[-1]


def test_a_model_with_a_file_above_the_bound_is_not_published(model: Path, tmp_path: Path) -> None:
    os.truncate(model / FILE, MAX_FILE_BYTES + 1)
    with pytest.raises(ServingDirError, match=r"Holds 17,179,869,185 bytes or more, expected at"):
        publish(model, tmp_path / "serving", {})
    assert versions(tmp_path / "serving") == []
    with pytest.raises(ServingDirError, match=r"^cannot read the model .*: Holds 17,179,869,185 "):
        digest_of(model)


def test_what_could_not_be_read_again_is_not_published(model: Path, serving: Path) -> None:
    long = {"run_id": "x" * MAX_MANIFEST_BYTES}
    with pytest.raises(ServingDirError, match=r"the manifest has 4,194,.* expected at most 4,194,"):
        publish(model, serving, long)
    with pytest.raises(
        ServingDirError, match=r"release.run_id is 3, expected a text; give another"
    ):
        publish(model, serving, {"run_id": 3})
    assert len(versions(serving, check_files=True)) == 3


def test_an_entry_of_which_the_system_says_nothing_is_a_damaged_version(serving: Path) -> None:
    """A path that is just short enough to be listed, and too long for what is in it."""
    room = os.pathconf(serving, "PC_PATH_MAX") - 2 - len(str(serving))
    steps, rest = divmod(room, len("/y/.."))
    for name in ("y", "y" * (rest + 1)):
        (serving / name).mkdir(exist_ok=True)
    long = Path(f"{serving}/{'y' * (rest + 1)}/..{'/y/..' * (steps - 1)}")
    found = versions(long)
    assert [version.number for version in found] == [1, 2, 3]
    assert all("File name too long" in version.problems[0] for version in found)


# --- the log, the lock, and the directory itself -------------------------------------------------

REGISTER = """
import sys
from pathlib import Path
from components.serving_dir import ServingDirError
from components.serving_dir.decisions import register
from components.serving_dir.log import Decision
from pipeline.cli.main import main
try:
    register(Path(sys.argv[1]), Decision("test", "model", None, "policy"), run_id="run")
except ServingDirError as error:
    print(error)
commands = (["versions"], ["rollback", "--reason", "r", "1"])
print([main([*command, "--serving-dir", sys.argv[1]]) for command in commands])
"""


@pytest.mark.parametrize(
    "name", ["FIFO", "endless device", "loop", "socket", "directory", "sparse file"]
)
def test_what_is_no_log_is_an_error_of_the_decision_and_stops_no_rollback_to_a_named_version(
    name: str, serving: Path
) -> None:
    STAND_INS[name][0](serving / LOG_NAME)
    done = limited(REGISTER, serving)
    first, *_, last = done.stdout.splitlines()
    assert (done.returncode, last) == (0, "[0, 0]")
    assert first.startswith(f"cannot write the decision to {serving / LOG_NAME}: ")


def test_the_log_follows_no_link_and_makes_nothing_elsewhere(serving: Path, tmp_path: Path) -> None:
    (serving / LOG_NAME).symlink_to(tmp_path / "elsewhere")
    assert "Too many levels of symbolic links" in limited(REGISTER, serving).stdout
    assert not (tmp_path / "elsewhere").exists()


ROLLBACK = """
import sys
from pipeline.cli.main import main
raise SystemExit(main(["rollback", "--reason", "r", "--serving-dir", sys.argv[1]]))
"""


def test_the_lock_follows_no_link_and_makes_nothing_elsewhere(
    serving: Path, tmp_path: Path
) -> None:
    replace(serving / LOCK_NAME, lambda path: path.symlink_to(tmp_path / "elsewhere"))
    done = limited(ROLLBACK, serving)
    assert done.returncode == 1
    assert "Too many levels of symbolic links" in done.stderr
    assert f"{LOCK_NAME}'): remove that symbolic link" in done.stderr
    assert not (tmp_path / "elsewhere").exists()
    assert len(versions(serving)) == 3


@pytest.mark.parametrize("name", ["FIFO", "directory"])
def test_a_lock_that_is_no_file_is_one_line(name: str, serving: Path) -> None:
    replace(serving / LOCK_NAME, STAND_INS[name][0])
    done = limited(ROLLBACK, serving)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert f"Is a {name}" in done.stderr


def test_a_serving_directory_that_is_a_link_to_itself_is_refused(
    model: Path, tmp_path: Path
) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for serving in (loop, loop / "below"):
        with pytest.raises(ServingDirError, match="Too many levels of symbolic links"):
            publish(model, serving, {})
    with pytest.raises(ServingDirError, match=r"Too many levels.*remove that symbolic link"):
        versions(loop)
