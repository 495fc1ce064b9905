"""The distribution: that its generic package names are ours, its command, its TFX generations."""

import ast
import importlib
import re
import sys
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
        ("tfx-mnist", "pipeline.cli.main:main")
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
