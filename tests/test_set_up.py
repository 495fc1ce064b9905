"""scripts/set-up, run for real in small checkouts, with a uv that only notes what it is asked."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parent.parent

# `uv venv` makes a real environment without pip; `uv pip install` notes its arguments, fails when
# the file `refuse` is there, and is cut off half-way when `interrupt` is.
FAKE_UV = f"""\
#!/bin/sh
case "$1 $2" in
"--version ") ;;
"venv "*) {sys.executable} -m venv --without-pip --symlinks .venv ;;
"pip install")
    echo "$*" >>installed
    echo "noise of uv"
    if [ -e refuse ]; then echo "no such package" >&2; exit 2; fi
    if [ -e interrupt ]; then kill -KILL $PPID; fi ;;
*) exit 2 ;;
esac
"""


class Checkout:
    def __init__(self, root: Path) -> None:
        self.path = root / "checkout"
        self.path.mkdir()
        shutil.copytree(ROOT / "scripts", self.path / "scripts")
        shutil.copytree(ROOT / "constraints", self.path / "constraints")
        for name in ("setup.py", "pyproject.toml"):
            shutil.copy(ROOT / name, self.path / name)
        self.bin = root / "bin"
        self.bin.mkdir()
        (self.bin / "uv").write_text(FAKE_UV)
        (self.bin / "uv").chmod(0o755)

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{self.bin}:{os.environ['PATH']}", **environment}
        return subprocess.run(
            [self.path / "scripts" / "set-up"],
            env={**os.environ, "PYTHON": "", **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def set_up(self, **environment: str) -> int:
        return self.run(**environment).returncode

    def interrupted_set_up(self) -> None:
        (self.path / "interrupt").touch()
        assert self.set_up() != 0
        (self.path / ".venv" / "half-made").touch()
        (self.path / "interrupt").unlink()

    @property
    def installs(self) -> list[str]:
        log = self.path / "installed"
        return log.read_text().splitlines() if log.exists() else []

    def python_starts(self) -> bool:
        python = self.path / ".venv" / "bin" / "python"
        return subprocess.run([python, "-c", ""], check=False).returncode == 0


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


# Where Python may not keep what it compiles, all of it is compiled once.
@pytest.mark.parametrize(("variable", "option"), [("", "--no-compile"), ("1", "--compile")])
def test_first_set_up_installs_the_checkout_with_its_constraints(
    checkout: Checkout, variable: str, option: str
) -> None:
    assert checkout.set_up(PYTHONDONTWRITEBYTECODE=variable) == 0
    generation = "1.21" if sys.version_info >= (3, 11) else "1.16"
    assert checkout.installs == [
        f"pip install {option} --python .venv/bin/python "
        f"--constraint constraints/tfx-{generation}.txt --editable .[dev]"
    ]


def test_second_set_up_calls_neither_find_python_nor_the_installer(checkout: Checkout) -> None:
    checkout.set_up()
    (checkout.path / "scripts" / "find-python").write_text("#!/bin/sh\nexit 9\n")
    assert checkout.set_up() == 0
    assert len(checkout.installs) == 1


@pytest.mark.parametrize("name", ["setup.py", "pyproject.toml", "constraints/tfx-1.16.txt"])
def test_changed_input_is_installed_into_the_same_environment(
    checkout: Checkout, name: str
) -> None:
    checkout.set_up()
    (checkout.path / ".venv" / "kept").touch()
    with (checkout.path / name).open("a") as file:
        file.write("\n")
    assert checkout.set_up() == 0
    assert len(checkout.installs) == 2
    assert (checkout.path / ".venv" / "kept").exists()


def test_an_environment_of_uv_is_made_anew_once_uv_is_gone(checkout: Checkout) -> None:
    checkout.set_up()
    (checkout.path / ".venv" / "left-over").touch()
    (checkout.bin / "uv").write_text("#!/bin/sh\nexit 127\n")
    (checkout.path / "setup.py").write_text("from setuptools import setup\nsetup(name='x')\n")
    checkout.set_up(PIP_NO_INDEX="1")  # the installation itself is not the point here
    assert not (checkout.path / ".venv" / "left-over").exists()
    assert (checkout.path / ".venv" / "bin" / "pip").exists()


@pytest.mark.parametrize("obstacle", ["build", "build/set-up.log/x"])
def test_a_checkout_that_cannot_be_written_to_is_said_in_one_line(
    checkout: Checkout, obstacle: str
) -> None:
    (checkout.path / obstacle).parent.mkdir(parents=True, exist_ok=True)
    (checkout.path / obstacle).touch()  # root may write to whatever it likes
    ended = checkout.run()
    assert (ended.returncode, ended.stderr) == (
        1,
        f"tfx-mnist: cannot write to {checkout.path} or to build/set-up.log in it: give this user "
        "permission, or copy the checkout\n",
    )
    assert not (checkout.path / ".venv").exists()


def test_touched_input_is_no_changed_input(checkout: Checkout) -> None:
    checkout.set_up()
    (checkout.path / "setup.py").touch()
    checkout.set_up()
    assert len(checkout.installs) == 1


def test_interrupted_set_up_starts_anew(checkout: Checkout) -> None:
    checkout.interrupted_set_up()
    assert checkout.set_up() == 0
    assert not (checkout.path / ".venv" / "half-made").exists()
    assert checkout.python_starts()


def test_interrupted_update_starts_anew(checkout: Checkout) -> None:
    checkout.set_up()
    (checkout.path / "setup.py").write_text("")
    checkout.interrupted_set_up()
    assert checkout.set_up() == 0
    assert not (checkout.path / ".venv" / "half-made").exists()


def test_moved_checkout_gets_a_new_environment(checkout: Checkout) -> None:
    checkout.set_up()
    (checkout.path / ".venv" / "left-over").touch()
    checkout.path = checkout.path.rename(checkout.path.with_name("moved"))
    assert checkout.set_up() == 0
    assert not (checkout.path / ".venv" / "left-over").exists()


def test_environment_whose_python_is_gone_is_made_anew(checkout: Checkout) -> None:
    checkout.set_up()
    python = checkout.path / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nonexistent/python3")
    assert checkout.set_up() == 0
    assert checkout.python_starts()


def test_set_up_inside_the_activated_environment_survives_its_removal(checkout: Checkout) -> None:
    checkout.set_up()
    (checkout.path / ".venv" / "set-up.stamp").unlink()
    activated = f"{checkout.path / '.venv' / 'bin'}:{checkout.bin}:{os.environ['PATH']}"
    assert checkout.set_up(PATH=activated) == 0
    assert checkout.python_starts()


def test_python_that_will_not_do_leaves_the_environment_alone(checkout: Checkout) -> None:
    checkout.set_up()
    assert checkout.set_up(PYTHON="/nonexistent/python3") != 0
    assert checkout.python_starts()


def test_each_step_is_one_line_and_the_installers_output_is_in_the_log(checkout: Checkout) -> None:
    done = checkout.run()
    assert done.stdout == ""
    python, packages, end = done.stderr.splitlines()
    assert python.startswith("set-up: creating .venv with Python 3.")
    assert packages.startswith("set-up: installing TFX 1.")
    assert end.startswith("set-up: done in ")
    assert (checkout.path / "build" / "set-up.log").read_text() == "noise of uv\n"


def test_failed_step_shows_the_end_of_the_log_and_its_path(checkout: Checkout) -> None:
    (checkout.path / "refuse").touch()
    done = checkout.run()
    assert done.returncode == 1
    *_, reason, error = done.stderr.splitlines()
    assert reason == "  | no such package"
    assert error.startswith("tfx-mnist: set-up failed with exit code 2 while installing TFX 1.")
    assert error.endswith("; its whole output: build/set-up.log")
    (checkout.path / "refuse").unlink()
    assert checkout.set_up() == 0


def test_nothing_is_printed_when_nothing_changed(checkout: Checkout) -> None:
    checkout.set_up()
    done = checkout.run()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
