"""The plugin of CONTRIBUTING.md: a hyper-parameter, a network, a data source and a check."""

import re
from pathlib import Path

import pytest

from tests.e2e.runs import run
from tests.plugins import install
from tests.trainer.trainings import exported_weights

PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"


@pytest.mark.e2e
def test_the_plugin_of_the_documentation_takes_part_in_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    install(tmp_path / "site", "\n".join(blocks), name="tfx-mnist-stripes")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    code, result = run(
        tmp_path / "root",
        *("--dataset", "stripes:12", "--set", "training.architecture=mlp"),
        *("--set", "training.extra.hidden_units=32", "--set", "gate.extra.weakest=0.8"),
    )
    assert (code, result["outcome"]) == (0, "released"), result["error"]
    assert result["dataset"]["name"] == "stripes"
    assert result["hparams"]["architecture"] == "mlp"
    assert result["hparams"]["extra"] == {"hidden_units": 32}
    (check,) = (check for check in result["gate"]["checks"] if check["name"] == "weakest")
    assert check["passed"]
    assert check["required"] == 0.8
    released = exported_weights(Path(result["release"]["path"]))
    assert (12 * 12, 32) in {weight.shape for weight in released.values()}
