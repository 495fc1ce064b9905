"""A check of the gate that a distribution from outside adds, with a threshold of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.saved_models import brightest_third, images, save_function
from tests.plugins import install

PLUGIN = """
from components.gate.check import Check
from components.gate.decide import GATE_CHECKS, GateCheck

def hardest(case):
    worst = min(tally.accuracy for tally in case.evidence.classes.values())
    least = case.policy.extra.get("hardest_class", 0.5)
    sentence = f"accuracy of the hardest class {worst:.4f}; at least {least:.4f} is required"
    yield Check("hardest_class", worst >= least, worst, least, sentence)

GATE_CHECKS.add("hardest_class", GateCheck("accuracy of the hardest class", hardest, parse=float))
"""

# Arguments: the data set, the pipeline root, the model, thresholds.
CHECK = """
import json, sys
from pathlib import Path
from components.gate.policy import Policy
from pipeline.config_model import build
from pipeline.dataset_defaults import policy_for
from pipeline.model_check import Asked, check_model

dataset, root, model, *thresholds = sys.argv[1:]
for threshold in thresholds:
    given = {"dataset": dataset, "pipeline_root": root, "gate.floor": 0.8}
    config = build("quick", {**given, "gate.extra.hardest_class": threshold})
    result = check_model(config, Asked(Path(model)))
    policy = policy_for(config.gate, "any", num_classes=3, test_rows=60)
    print(json.dumps([result.to_dict(), Policy.from_config(policy.to_config()).to_config()]))
"""


@pytest.mark.once_newer  # tests/e2e/test_plugin.py
def test_a_check_from_outside_passes_or_refuses_by_its_own_threshold(
    thirds: str, tmp_path: Path
) -> None:
    install(tmp_path / "plugins", PLUGIN)
    model = save_function(tmp_path / "model", brightest_third, images(12, 12, 1))
    done = subprocess.run(
        [sys.executable, "-c", CHECK, thirds, str(tmp_path / "root"), str(model), "0.9", "0.99"],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "plugins")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = map(json.loads, done.stdout.splitlines())
    for (result, policy), threshold, passed in zip(lines, (0.9, 0.99), (True, False), strict=True):
        (check,) = (check for check in result["checks"] if check["name"] == "hardest_class")
        assert (check["passed"], check["required"]) == (passed, threshold)
        assert check["actual"] == pytest.approx(19 / 20)
        assert result["decision"] == ("passed" if passed else "refused")
        assert policy["extra"] == {"hardest_class": threshold}  # as the release record has it
