"""Files that the user names for output: written whole, or left as they were."""

import os
import socket
import tempfile
from pathlib import Path

import pytest

from pipeline.cli.main import main
from pipeline.cli.written_files import require_writable
from pipeline.config import ConfigError
from pipeline.result import RELEASED
from tests.limits import full_disk
from tests.pipeline.cli.processes import runner
from tests.pipeline.cli.test_gate_simulate import FEW
from tests.pipeline.cli.test_kubeflow_compile import WHERE
from tests.trainer.host.test_files import refuse_links
from tests.trainer.host.test_paths import NOBODY, ordinary_user

Captured = pytest.CaptureFixture[str]

# The words before the name of each file that a command writes.
COMMANDS = {
    "run --junit": ["run", "--pipeline-root", "root", "--junit"],
    "run --markdown": ["run", "--pipeline-root", "root", "--markdown"],
    "run --save-hparams": ["run", "--pipeline-root", "root", "--save-hparams"],
    "gate check --junit": ["gate", "check", "--predictions", "none.csv", "--junit"],
    "gate simulate --png": ["gate", "simulate", *FEW, "--png"],
    "kubeflow compile -o": ["kubeflow", "compile", *WHERE, "-o"],
    "monitor --report": ["monitor", "--requests", "none", "--serving-dir", ".", "--report"],
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_no_regular_file_is_refused_and_stays(name: str, capfd: Captured) -> None:
    with socket.socket(socket.AF_UNIX) as made:  # stands for /dev/stdout, which a test may not risk
        made.bind("socket")
    Path("link").symlink_to("socket")
    for file in ("socket", "link"):
        assert main([*COMMANDS[name], file], run=runner(RELEASED)) == 2
        shown = capfd.readouterr().err
        assert shown.endswith(f" to {file}: expected a regular file in an existing directory\n")
        assert shown.count("\n") == 1
    assert Path("link").is_symlink()
    assert Path("socket").is_socket()
    assert sorted(os.listdir()) == ["link", "socket"]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_name_that_could_not_be_written_is_refused_before_the_work(
    name: str, capfd: Captured
) -> None:
    assert main([*COMMANDS[name], "e" * 256], run=runner(RELEASED)) == 2
    assert " has a name of 256 bytes in its path, expected at most 255:" in capfd.readouterr().err
    assert not os.listdir()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_directory_that_is_not_there_is_refused_before_the_work(
    name: str, capfd: Captured
) -> None:
    Path("dangling").symlink_to("no/file")
    for file in ("no/file", "dangling"):
        assert main([*COMMANDS[name], file], run=runner(RELEASED)) == 2
        said = f" to {file}: expected a regular file in an existing directory\n"
        assert capfd.readouterr().err.endswith(said)
    assert os.listdir() == ["dangling"]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_link_that_linux_does_not_follow_is_refused_before_the_work(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    Path("mine").write_text("mine")
    Path("link").symlink_to("mine")
    refuse_links(monkeypatch)
    assert main([*COMMANDS[name], "link"], run=runner(RELEASED)) == 2
    said = " to link, which cannot be read (Permission denied): choose another "
    assert said in capfd.readouterr().err
    assert Path("mine").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of two users")
def test_a_file_of_another_user_in_a_sticky_directory_is_refused_before_the_work() -> None:
    # Whoever may write to it may not replace it there.
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are root's alone
        file = Path(folder, "report")
        for mode, owner, refused in (
            (0o1777, 1, True),
            (0o1777, NOBODY, False),
            (0o777, 1, False),
        ):
            Path(folder).chmod(mode)
            file.touch()
            file.chmod(0o666)
            os.chown(file, owner, -1)
            with ordinary_user():
                if not refused:
                    require_writable("--png", "the curve", file)
                    continue
                with pytest.raises(ConfigError, match="another user's in a sticky directory: choo"):
                    require_writable("--png", "the curve", file)


WRITING = {
    "run --save-hparams": (0, "cannot save the hyper-parameters to file: {}"),
    "gate simulate --png": (1, "cannot write file: {}; choose another file with --png"),
    "kubeflow compile -o": (1, "cannot write file: {}; give another -o"),
}


@pytest.mark.parametrize("name", WRITING)
def test_a_full_disk_leaves_the_file_of_before(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    Path("file").write_text("of before")
    code, said = WRITING[name]
    monkeypatch.setattr(os, "fsync", full_disk)
    run = runner(RELEASED, hparams={"epochs": 3})
    assert main([*COMMANDS[name], "file"], run=run) == code
    assert f"tfx-mnist: {said.format('No space left on device')}\n" in capfd.readouterr().err
    assert Path("file").read_text() == "of before"
