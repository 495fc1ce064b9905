"""Every Python process that we start, from a directory full of traps, editable and as a wheel.

What stands in for TensorFlow here says where each name was imported from, which GPUs its process
sees and how seldom it searches for garbage, and ends it.
What a child does after its imports is tested elsewhere.
"""

import dataclasses
import json
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.children import STARTS, TRAINS
from tests.loopback import NO_PROXY_THERE

ROOT = Path(__file__).parents[1]
PACKAGES = ("components", "pipeline", "trainer")
STANDARD = ("json", "logging", "pickle", "random", "runpy", "socket", "threading")
NAMES = (*STANDARD, *PACKAGES, "numpy")
# On PYTHONPATH, which is the user's own choice, under the name `tensorflow` and `where`.
PROBE = f"""
import gc, importlib, json, os
names = {NAMES!r}
def say(*_):
    found = {{name: importlib.import_module(name).__file__ for name in names}}
    found["GPUs"] = os.environ["CUDA_VISIBLE_DEVICES"]
    found["garbage"] = gc.get_threshold()[0]
    with open(os.environ["FOUND"], "w") as file:
        json.dump(found, file)
if __name__ == "tensorflow":
    say()
    os._exit(0)
"""


@dataclasses.dataclass(frozen=True)
class Installed:
    """Our packages, as an interpreter finds them."""

    python: str
    packages: Path


@pytest.fixture(scope="module")
def editable() -> Installed:
    return Installed(sys.executable, ROOT)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Installed:
    """In an environment that has all other packages from this one."""
    home = tmp_path_factory.mktemp("wheel")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, home / "source" / package)
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, home / "source")
    build = "from setuptools.build_meta import build_wheel; build_wheel('..')"
    subprocess.run(
        [sys.executable, "-c", build], cwd=home / "source", check=True, capture_output=True
    )
    venv.create(home / "venv", symlinks=True)
    site = next((home / "venv" / "lib").glob("python*/site-packages"))
    with zipfile.ZipFile(next(home.glob("*.whl"))) as built:
        built.extractall(site)
    shared = [path for path in sys.path if path.endswith("site-packages")]
    (site / "shared.pth").write_text("\n".join(shared))
    return Installed(str(home / "venv" / "bin" / "python"), site)


# The wheel is looked at on both generations.
@pytest.fixture(params=[pytest.param("editable", marks=pytest.mark.once), "wheel"])
def installed(request) -> Installed:
    return request.getfixturevalue(request.param)


@pytest.fixture
def traps(tmp_path) -> Iterator[Path]:
    """A directory to stand in; nothing of it may ever be imported."""
    directory = tmp_path / "traps"
    directory.mkdir()
    trap = f"open({str(tmp_path / 'trapped')!r}, 'a').write(__file__)\nraise SystemExit(__file__)\n"
    for name in (*STANDARD, "tensorflow", "numpy", "apache_beam"):
        (directory / f"{name}.py").write_text(trap)
    for name in PACKAGES:
        (directory / name).mkdir()
        (directory / name / "__init__.py").write_text(trap)
    yield directory
    assert not (tmp_path / "trapped").exists(), (tmp_path / "trapped").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("kind", STARTS)
def test_a_child_imports_nothing_from_where_the_user_stands_and_sees_gpus_only_if_it_trains(
    kind, installed, traps, tmp_path, monkeypatch
):
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in ("tensorflow", "where"):
        (mine / f"{name}.py").write_text(PROBE)
    # As the command lies: in a directory of its own, which comes first on its `sys.path`.
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "command.py"
    command.write_text(STARTS[kind])
    monkeypatch.setenv("PYTHONPATH", str(mine))
    monkeypatch.setenv("FOUND", str(tmp_path / "found"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv("http_proxy", NO_PROXY_THERE)
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):  # as this process has settled them
        monkeypatch.delenv(name, raising=False)
    done = subprocess.run(
        [installed.python, str(command)], cwd=traps, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    said = json.loads((tmp_path / "found").read_text())
    assert said.pop("GPUs") == ("0,1" if kind in TRAINS else "-1")
    assert said.pop("garbage") == 50_000 or kind not in TRAINS
    found = {name: Path(file) for name, file in said.items()}
    ours = {name: found[name] for name in PACKAGES}
    assert ours == {name: installed.packages / name / "__init__.py" for name in PACKAGES}
    assert all(traps not in file.parents for file in found.values())


def test_the_traps_catch_what_is_started_without_care(traps, tmp_path):
    command = [sys.executable, "-m", "trainer.training_process", "0"]
    done = subprocess.run(command, cwd=traps, capture_output=True, text=True, timeout=300)
    assert str(traps) in done.stderr
    (tmp_path / "trapped").unlink()
