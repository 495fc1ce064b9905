"""The program that runs kfp, as far as no container is needed."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.runners.kubeflow import kfp_local


def _check(python: str, image: str = "image", **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-I", kfp_local.__file__, "check", image],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", **env},
    )


def test_a_python_without_kfp_is_said_in_one_line(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    done = _check(str(bare / "bin" / "python"))
    assert done.returncode == 1
    assert done.stdout.endswith(
        "has no kfp, expected kfp and docker: install 'tfx-mnist[kubeflow]', or name another "
        "Python with --kfp-python\n"
    )


def test_an_engine_or_a_newer_kfp_that_is_missing_is_said_in_one_line() -> None:
    done = _check(sys.executable, DOCKER_HOST="unix:///nowhere/docker.sock")
    (line,) = done.stdout.splitlines()[-1:]
    expected = "expected 2.16 or newer" if sys.version_info < (3, 11) else "no container engine"
    assert done.returncode == 1
    assert expected in line


def test_it_is_told_what_to_do_by_its_first_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kfp_local, "check", lambda image: f"there is no image {image}")
    assert kfp_local.main(["check", "tfx-mnist:1"]) == 1
    assert capsys.readouterr().out == "there is no image tfx-mnist:1\n"
