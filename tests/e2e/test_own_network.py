"""The network of docs/training.md in a whole run, from a file that is gone when it is released."""

import re
from pathlib import Path

import pytest

from tests.e2e.runs import run_here
from tests.pipeline.thirds import write_thirds

PAGE = Path(__file__).parents[2] / "docs" / "training.md"


@pytest.mark.e2e
def test_the_network_of_the_documentation_is_trained_on_two_devices_and_released_with_its_source(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (source,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    (tmp_path / "net.py").write_text(source)
    settings = {
        "training.architecture": f"{tmp_path}/net.py:build",
        "training.extra.units": 128,
        "training.epochs": 2,
        "training.per_replica_batch": 16,
        "training.horizontal_flip": True,
        "training.color_jitter": 0.1,
        "gate.floor": 0,
        "gate.class_floor": 0,
        "gate.max_cross_entropy": 100,
        "data_gate.max_train_test_overlap": 0.1,
    }
    code, result = run_here(
        capfd,
        tmp_path / "root",
        *("--dataset", write_thirds(tmp_path / "thirds"), "--replicas", "2"),
        *(word for key, value in settings.items() for word in ("--set", f"{key}={value}")),
    )
    assert (code, result["outcome"]) == (0, "released"), result["error"]
    assert result["hparams"]["extra"] == {"units": 128}
    assert "found" not in result["hparams"]
    version = Path(result["release"]["path"])
    assert (version / "assets.extra" / "network.py").read_text() == source
    log = (tmp_path / "root" / "logs" / f"{result['run_id']}.log").read_text()
    assert "replicas: 2" in log
