"""The convolution on the CPU, and the process that asks for GPUs; no test here proves a GPU."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer import gpu_probe
from trainer.host.children import running_child


def answered(*arguments: str, **variables: str) -> dict[str, Any]:
    with running_child(gpu_probe.__name__, *arguments, **variables) as child:
        assert child.stdout is not None
        answer: dict[str, Any] = json.loads(child.stdout.read())
        assert child.wait() == 0
    return answer


def test_hidden_gpus_are_not_seen() -> None:
    assert answered(CUDA_VISIBLE_DEVICES="-1") == {"problem": "", "gpus": []}


def test_a_tensorflow_that_cannot_be_imported_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("print('hello')\nimport no_such_module\n")
    problem = "ModuleNotFoundError: No module named 'no_such_module'"
    assert answered(PYTHONPATH=str(tmp_path)) == {"problem": problem, "gpus": []}


@pytest.mark.parametrize("arguments", [(), (gpu_probe.SHOW,)])
def test_what_tensorflow_logs_is_shown_if_asked_for(
    arguments: tuple[str, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tensorflow.py").write_text("import os; os.write(2, b'no CUDA'); raise OSError")
    answer = answered(*arguments, PYTHONPATH=str(tmp_path))
    assert answer == {"problem": "OSError:", "gpus": []}
    assert ("no CUDA" in capfd.readouterr().err) == bool(arguments)


def test_the_convolution_is_one() -> None:
    found = gpu_probe.convolve("CPU:0")
    assert found.shape == (8, 28, 28, 16)
    image = np.linspace(0, 1, 8 * 28 * 28).reshape(8, 28, 28)
    kernel = np.linspace(-1, 1, 3 * 3 * 16).reshape(3, 3, 16)
    window = image[5, 9:12, 19:22]  # around the pixel [10, 20]
    expected = np.einsum("hw,hwc->c", window, kernel)
    np.testing.assert_allclose(found[5, 10, 20], expected, atol=1e-5)


def test_results_that_differ_by_rounding_agree() -> None:
    expected = gpu_probe.convolve("CPU:0")
    assert gpu_probe.disagreement(expected + np.float32(2e-6), expected) == ""


def test_other_results_and_nan_disagree() -> None:
    expected = np.zeros([2, 2], np.float32)
    actual = expected.copy()
    actual[1, 1] = 0.5
    assert gpu_probe.disagreement(actual, expected) == (
        "a convolution differs by 0.5 from the CPU's, expected at most 1e-05"
    )
    actual[1, 1] = np.nan
    assert "differs by nan" in gpu_probe.disagreement(actual, expected)
