"""`kubeflow local`: what it refuses before a container is started."""

from pathlib import Path

import pytest

from pipeline.cli.main import main
from pipeline.runners.kubeflow import containers

Captured = pytest.CaptureFixture[str]


def test_an_image_is_asked_for(capfd: Captured) -> None:
    assert main(["kubeflow", "local"]) == 2
    assert "--image is missing" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["--kfp-python", "/none"], 2, "cannot start /none: No such file or directory; give anoth"),
        (["--dataset", "idx:/none"], 2, "idx:/none: there is no such directory"),
        (["--signing-key", "/none"], 2, "cannot read the key /none: No such file or directory"),
        (["--data-dir", "/none"], 2, "there is no directory /none, expected the prepared data"),
    ],
)
def test_what_cannot_start_is_said_in_one_line_and_leaves_nothing(
    root: Path, words: list[str], code: int, line: str, capfd: Captured
) -> None:
    where = ["--image", "i:1", "--pipeline-root", str(root)]
    assert main(["kubeflow", "local", *where, *words]) == code
    shown = capfd.readouterr()
    assert shown.err.startswith(f"tfx-mnist: {line}")
    assert (shown.err.count("\n"), shown.out) == (1, "")
    assert not root.exists()


def test_after_a_signal_nothing_is_kept_to_go_on_from(
    root: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    def ctrl_c(*given: object, **told: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(containers, "run", ctrl_c)
    assert main(["kubeflow", "local", "--image", "i:1", "--pipeline-root", str(root)]) == 130
    said = "tfx-mnist: interrupted; the same command begins anew\n"
    assert capfd.readouterr().err == said


def test_the_help_names_the_exit_codes_of_run(capfd: Captured) -> None:
    assert main(["kubeflow", "local", "--help"]) == 0
    shown = " ".join(capfd.readouterr().out.split())
    assert "3 refused by a gate, or overtaken by another release: the served version stays" in shown
