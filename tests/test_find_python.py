"""scripts/find-python, run for real on machines made of small fake commands."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

SCRIPT = Path(__file__).parent.parent / "scripts" / "find-python"

# A Python that is of another version, and lacks what the case takes away from it: the real one,
# told so before it runs what it is given by `-c CODE ARGUMENT`.
FAKE_PYTHON = """\
#!/bin/sh
code=$2 argument=$3
exec {real} -I -c '
import collections, sys, sysconfig
code, argument = sys.argv[1:]
sys.argv = ["-c", argument]
version = collections.namedtuple("version", "major minor micro releaselevel serial")
sys.version_info = version({major}, {minor}, 0, "final", 0)
sys.executable = "{path}"
sys.base_prefix = sys.prefix
sysconfig.get_path = lambda name: "{include}"
real_config_var = sysconfig.get_config_var
sysconfig.get_config_var = lambda name: (
    {free_threaded} if name == "Py_GIL_DISABLED" else real_config_var(name)
)
if not {has_venv}:
    sys.modules["ensurepip"] = None
exec(code)
' "$code" "$argument"
"""


class Machine:
    """A machine whose PATH is one folder, whose home is empty, and whose C library is given."""

    def __init__(
        self,
        root: Path,
        *,
        kind: str = "Linux x86_64",
        glibc: str = "2.41",
        compiler: str = "g++",
    ) -> None:
        self.bin = root / "bin"
        self.home = root / "home"
        self.include = root / "include"
        for folder in (self.bin, self.home, self.include):
            folder.mkdir()
        (self.include / "Python.h").touch()
        for tool in ("sh", "dirname", "ls", "sed", "sort"):
            self.link(tool)
        self.command("uname", f'[ "$1" = -sm ] && echo "{kind}"')
        self.command("getconf", f'[ "$1" = GNU_LIBC_VERSION ] && echo "glibc {glibc}"')
        if compiler:
            self.command(compiler, "exit 0")
        self.environment = {"PATH": str(self.bin), "HOME": str(self.home)}

    def link(self, tool: str) -> None:
        for folder in ("/usr/bin", "/bin"):
            if (Path(folder) / tool).exists():
                (self.bin / tool).symlink_to(Path(folder) / tool)
                return

    def command(self, name: str, body: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{body}\n")
        (self.bin / name).chmod(0o755)

    def python(
        self,
        version: str,
        path: Path | None = None,
        *,
        has_headers: bool = True,
        has_venv: bool = True,
        free_threaded: bool = False,
    ) -> str:
        path = path or self.bin / f"python{version}"
        path.parent.mkdir(parents=True, exist_ok=True)
        major, minor = version.split(".")
        path.write_text(
            FAKE_PYTHON.format(
                real=sys.executable,
                major=major,
                minor=minor,
                path=path,
                include=self.include if has_headers else "/nonexistent",
                has_venv=has_venv,
                free_threaded=free_threaded,
            )
        )
        path.chmod(0o755)
        return str(path)

    def pyenv_python(self, release: str) -> str:
        version = release.rpartition(".")[0]
        folder = self.home / ".pyenv" / "versions" / release / "bin"
        return self.python(version, folder / f"python{version}")

    def find(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SCRIPT],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def found(self, **environment: str) -> str:
        done = self.find(**environment)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.rstrip("\n")

    def refusal(self, **environment: str) -> str:
        done = self.find(**environment)
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.startswith("tfx-mnist: ")
        assert done.stderr.count("\n") == 1  # one line
        return done.stderr.removeprefix("tfx-mnist: ").rstrip("\n")


def test_newest_python_is_taken_where_glibc_is_new(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    for version in ("3.9", "3.10", "3.11", "3.12", "3.14"):
        machine.python(version)
    newest = machine.python("3.13")
    assert machine.found() == newest


@pytest.mark.parametrize("version", ["3.12", "3.11", "3.10"])
def test_older_python_is_taken_where_there_is_no_newer_one(tmp_path: Path, version: str) -> None:
    machine = Machine(tmp_path)
    machine.python("3.14")
    python = machine.python(version)
    assert machine.found() == python


@pytest.mark.parametrize(
    ("glibc", "version"), [("2.36", "3.10"), ("2.38", "3.10"), ("2.39", "3.13"), ("3.0", "3.13")]
)
def test_glibc_decides_between_the_generations(tmp_path: Path, glibc: str, version: str) -> None:
    machine = Machine(tmp_path, glibc=glibc)
    pythons = {version: machine.python(version) for version in ("3.10", "3.13")}
    assert machine.found() == pythons[version]


@pytest.mark.parametrize(("kind", "version"), [("Darwin arm64", "3.12"), ("Darwin x86_64", "3.10")])
def test_mac_decides_between_the_generations(tmp_path: Path, kind: str, version: str) -> None:
    machine = Machine(tmp_path, kind=kind)
    machine.command("getconf", "exit 1")
    pythons = {version: machine.python(version) for version in ("3.10", "3.12")}
    assert machine.found() == pythons[version]


def test_processor_without_packages_of_tfx_is_refused(tmp_path: Path) -> None:
    machine = Machine(tmp_path, kind="Linux aarch64")
    machine.python("3.13")
    assert machine.refusal() == (
        "TFX has packages for Linux x86_64 and macOS, and this machine is Linux aarch64: "
        "run tfx-mnist on another machine, or in a container of the platform linux/amd64"
    )


def test_python3_is_taken_where_no_name_has_the_version(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    python = machine.python("3.12", machine.bin / "python3")
    assert machine.found() == python


def test_shim_that_does_not_start_gives_way_to_what_pyenv_holds(tmp_path: Path) -> None:
    machine = Machine(tmp_path, glibc="2.36")
    machine.command("python3.10", "echo 'pyenv: python3.10: command not found' >&2; exit 127")
    machine.python("3.11", machine.bin / "python3")
    python = machine.pyenv_python("3.10.13")
    assert machine.found() == python


def test_newest_patch_release_of_pyenv_is_taken(tmp_path: Path) -> None:
    machine = Machine(tmp_path, glibc="2.36")
    machine.pyenv_python("3.10.9")
    newest = machine.pyenv_python("3.10.13")
    machine.pyenv_python("3.10.2")
    assert machine.found() == newest


def test_pyenv_is_asked_where_it_keeps_its_versions(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    machine.command("pyenv", f'[ "$1" = root ] && echo {elsewhere}')
    python = machine.python("3.11", elsewhere / "versions" / "3.11.7" / "bin" / "python3.11")
    assert machine.found() == python


def test_pyenv_root_is_read(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    root = tmp_path / "with a space"
    python = machine.python("3.12", root / "versions" / "3.12.1" / "bin" / "python3.12")
    assert machine.found(PYENV_ROOT=str(root)) == python


def uv(machine: Machine, python: str) -> None:
    """A uv that knows one Python 3.13, and fails where it might download one."""
    machine.command(
        "uv",
        'case "$*" in\n'
        "--version) ;;\n"
        f'"python find"*" --no-python-downloads 3.13") echo "{python}" ;;\n'
        "*) exit 2 ;;\n"
        "esac",
    )


def test_python_that_only_uv_knows_is_taken(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    python = machine.python("3.13", tmp_path / "uv" / "bin" / "python3.13", has_venv=False)
    uv(machine, python)
    assert machine.found() == python


def test_uv_that_does_not_start_is_no_uv(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.command("uv", "exit 127")
    machine.python("3.13", has_venv=False)
    assert machine.refusal().endswith("; to install: apt-get install python3.13-venv")


def test_python_without_venv_will_do_where_uv_is(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    python = machine.python("3.13", has_venv=False)
    uv(machine, "/nonexistent")
    assert machine.found() == python


def test_complete_older_python_is_preferred_to_an_incomplete_newer_one(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.python("3.13", has_headers=False)
    python = machine.python("3.11")
    assert machine.found() == python


def test_all_that_a_python_lacks_is_named_at_once(tmp_path: Path) -> None:
    machine = Machine(tmp_path, compiler="")
    python = machine.python("3.13", has_headers=False, has_venv=False)
    assert machine.refusal() == (
        f"found no C++ compiler; Python 3.13 ({python}) is incomplete; to install: "
        "apt-get install g++ python3.13-dev python3.13-venv"
    )


@pytest.mark.parametrize("compiler", ["g++", "c++", "clang++"])
def test_any_cpp_compiler_will_do(tmp_path: Path, compiler: str) -> None:
    machine = Machine(tmp_path, compiler=compiler)
    python = machine.python("3.13")
    assert machine.found() == python


def test_missing_compiler_is_refused(tmp_path: Path) -> None:
    machine = Machine(tmp_path, compiler="")
    machine.python("3.13")
    assert machine.refusal() == "found no C++ compiler; to install: apt-get install g++"


def test_bare_new_debian_is_told_its_packages(tmp_path: Path) -> None:
    machine = Machine(tmp_path, compiler="")
    assert machine.refusal() == (
        "found no C++ compiler; found no Python of these versions: 3.13 3.12 3.11 3.10; "
        "to install: apt-get install g++ python3 python3-dev python3-venv"
    )


def test_old_debian_without_python_3_10_is_told_where_to_get_it(tmp_path: Path) -> None:
    machine = Machine(tmp_path, glibc="2.36")
    machine.python("3.11")
    assert machine.refusal() == (
        "found no Python of these versions: 3.10 (newer ones need glibc 2.39); "
        "to install: uv python install 3.10, or: pyenv install 3.10"
    )


def test_free_threaded_python_is_passed_over(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.python("3.13", free_threaded=True)
    python = machine.python("3.12")
    assert machine.found() == python


def test_python_variable_is_taken_before_all_others(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.python("3.13")
    chosen = machine.python("3.11", tmp_path / "mine" / "python")
    assert machine.found(PYTHON=chosen) == chosen


def test_python_variable_of_a_version_without_tfx_is_refused(tmp_path: Path) -> None:
    machine = Machine(tmp_path, glibc="2.36")
    machine.python("3.10")
    chosen = machine.python("3.13")
    assert machine.refusal(PYTHON=chosen) == (
        f"PYTHON={chosen} is Python 3.13, but TFX runs on this machine with: 3.10"
    )


def test_python_variable_that_does_not_start_is_refused(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.python("3.13")
    assert machine.refusal(PYTHON="/nonexistent/python3") == (
        "PYTHON=/nonexistent/python3 does not start, or is not a CPython with the GIL"
    )


def test_virtual_environment_leads_to_the_python_that_it_was_made_from(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    # As inside an activated .venv, which set-up may be about to remove.
    venv.create(tmp_path / "venv", symlinks=True)
    found = machine.found(PYTHON=str(tmp_path / "venv" / "bin" / "python"))
    assert found == os.path.realpath(sys.executable)
