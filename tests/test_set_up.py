"""scripts/set-up, run for real in small checkouts, with a uv that only notes what it is asked."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# `uv venv` makes a real environment without pip; `uv pip install` notes its arguments, or is cut
# off half-way when the file `interrupt` is there.
FAKE_UV = f"""\
#!/bin/sh
case "$1 $2" in
"--version ") ;;
"venv "*) {sys.executable} -m venv --without-pip --symlinks .venv ;;
"pip install")
    echo "$*" >>installed
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

    def set_up(self, **environment: str) -> int:
        environment = {"PATH": f"{self.bin}:{os.environ['PATH']}", **environment}
        return subprocess.run(
            [self.path / "scripts" / "set-up"],
            env={**os.environ, "PYTHON": "", **environment},
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=False,
        ).returncode

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


def test_first_set_up_installs_the_checkout_with_its_constraints(checkout: Checkout) -> None:
    assert checkout.set_up() == 0
    generation = "1.21" if sys.version_info >= (3, 11) else "1.16"
    assert checkout.installs == [
        "pip install --quiet --compile-bytecode --python .venv/bin/python "
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


def test_touched_input_is_no_changed_input(checkout: Checkout) -> None:
    checkout.set_up()
    (checkout.path / "setup.py").touch()
    checkout.set_up()
    assert len(checkout.installs) == 1


def test_interrupted_set_up_starts_anew(checkout: Checkout) -> None:
    (checkout.path / "interrupt").touch()
    assert checkout.set_up() != 0
    (checkout.path / ".venv" / "half-made").touch()
    (checkout.path / "interrupt").unlink()
    assert checkout.set_up() == 0
    assert not (checkout.path / ".venv" / "half-made").exists()
    assert checkout.python_starts()


def test_interrupted_update_starts_anew(checkout: Checkout) -> None:
    checkout.set_up()
    (checkout.path / "setup.py").write_text("")
    (checkout.path / "interrupt").touch()
    assert checkout.set_up() != 0
    (checkout.path / ".venv" / "half-made").touch()
    (checkout.path / "interrupt").unlink()
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
