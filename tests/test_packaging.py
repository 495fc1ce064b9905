"""The distribution: its package names, its command, its TFX generations and its files."""

import ast
import importlib
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parent.parent
PACKAGES = ("pipeline", "components", "trainer")
CONSTRAINTS = {"3.10": "tfx-1.16.txt", "3.11": "tfx-1.21.txt", "3.13": "tfx-1.21.txt"}


def requirements(python_version: str) -> dict[str, Requirement]:
    """What the distribution needs on that Python, by name, with the extra for Kubeflow."""
    parsed = [Requirement(line) for line in metadata.requires("tfx-mnist") or ()]
    environments = [{"python_version": python_version, "extra": one} for one in ("", "kubeflow")]
    return {
        r.name: r for r in parsed if r.marker is None or any(map(r.marker.evaluate, environments))
    }


def locked(name: str) -> list[Requirement]:
    lines = (ROOT / "constraints" / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


@pytest.mark.parametrize("package", PACKAGES)
def test_generic_name_is_our_package(package: str) -> None:
    module = importlib.import_module(package)
    assert Path(module.__file__ or "") == ROOT / package / "__init__.py"


def test_command_is_the_cli() -> None:
    scripts = metadata.distribution("tfx-mnist").entry_points.select(group="console_scripts")
    assert {(script.name, script.value) for script in scripts} == {
        ("tfx-mnist", "pipeline.cli.__main__:start")
    }
    assert callable(scripts["tfx-mnist"].load())


@pytest.mark.parametrize(
    ("version", "served"),
    [("3.9", False), ("3.10", True), ("3.11", True), ("3.13", True), ("3.14", False)],
)
def test_python_versions(version: str, served: bool) -> None:
    python_versions = SpecifierSet(metadata.metadata("tfx-mnist")["Requires-Python"])
    assert (f"{version}.1" in python_versions) is served


@pytest.mark.parametrize(
    ("python_version", "tfx"), [("3.10", "==1.16.*"), ("3.11", "==1.21.*"), ("3.13", "==1.21.*")]
)
def test_python_chooses_the_tfx_generation(python_version: str, tfx: str) -> None:
    assert str(requirements(python_version)["tfx"].specifier) == tfx


@pytest.mark.parametrize("python_version", CONSTRAINTS)
def test_each_requirement_is_locked_to_a_version_that_it_allows(python_version: str) -> None:
    environment = {"python_version": python_version, "python_full_version": f"{python_version}.1"}
    versions = {
        pin.name: str(pin.specifier).removeprefix("==")
        for pin in locked(CONSTRAINTS[python_version])
        if pin.marker is None or pin.marker.evaluate(environment)
    }
    for name, requirement in requirements(python_version).items():
        assert versions[name] in requirement.specifier, name


@pytest.mark.parametrize("name", sorted(set(CONSTRAINTS.values())))
def test_lock_holds_names_and_versions_only(name: str) -> None:
    for pin in locked(name):
        assert pin.url is None
        assert not pin.extras
        assert re.fullmatch(r"==[0-9][0-9a-z.+]*", str(pin.specifier)), pin


def imported_modules() -> set[str]:
    """Top-level modules that our packages import and that are neither ours nor Python's."""
    names: set[str] = set()
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    return names - {*PACKAGES, *sys.stdlib_module_names}


def test_what_our_packages_import_is_required_by_them() -> None:
    # By the files: metadata.packages_distributions() misses half of them on Python 3.10.
    provided = {
        file.parts[0].removesuffix(".py")
        for name in requirements(f"{sys.version_info.major}.{sys.version_info.minor}")
        for file in metadata.files(name) or ()
    }
    assert imported_modules() - provided == set()


def committed_files() -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not in a checkout of git")
    return {name for name in listed.stdout.split("\0") if (ROOT / name).is_file()}


def build(what: str, source: Path, target: Path) -> Path:
    """What setuptools makes of that source: `build_sdist` or `build_wheel`, into `target`."""
    code = f"import sys; from setuptools.build_meta import {what}; {what}(sys.argv[1])"
    target.mkdir()
    subprocess.run(
        [sys.executable, "-c", code, str(target)], cwd=source, check=True, capture_output=True
    )
    return next(target.iterdir())


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    """The source distribution, unpacked."""
    home = tmp_path_factory.mktemp("sdist")
    for name in committed_files():
        (home / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, home / "checkout" / name)
    with tarfile.open(build("build_sdist", home / "checkout", home / "built")) as archive:
        archive.extractall(home / "unpacked", filter="data")
    return next((home / "unpacked").iterdir())


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_source_distribution_holds_what_is_committed(sdist: Path) -> None:
    made = {name for name in files_of(sdist) if name.startswith("tfx_mnist.egg-info/")}
    assert files_of(sdist) - made == committed_files() | {"PKG-INFO", "setup.cfg"}


def test_wheel_of_the_source_distribution_holds_the_packages_alone(
    sdist: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(build("build_wheel", sdist, tmp_path / "built")) as wheel:
        names = set(wheel.namelist())
    dist_info = {name for name in names if ".dist-info/" in name}
    assert names - dist_info == {
        name for name in committed_files() if name.partition("/")[0] in PACKAGES
    }
    assert {f"{package}/py.typed" for package in PACKAGES} < names
    assert any(name.endswith("/licenses/LICENSE") for name in dist_info)


def test_description_is_the_readme(sdist: Path) -> None:
    described = metadata.PathDistribution(sdist / "tfx_mnist.egg-info").metadata
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert described["Description-Content-Type"] == "text/markdown"
    assert described["License-Expression"] == "Apache-2.0"
    assert described.get_payload().strip() == readme.strip()
