"""The component as TFX calls it: from the Evaluator's evaluation to a blessing."""

from pathlib import Path
from typing import Any

import pytest
from tfx.types import standard_artifacts

from components import blessing
from components.gate.check import NotChecked
from components.serving_check.serving_check import ServingCheck
from tests.components.artifacts import artifact


@pytest.fixture
def inputs(setting, first, tmp_path) -> dict[str, Any]:
    """A model, its evaluation, and that it was blessed."""
    blessed = artifact(standard_artifacts.ModelBlessing, tmp_path / "blessing")
    blessed.set_int_custom_property(blessing.BLESSED, 1)
    evaluated = {"model": setting.candidate, "evaluation": first.evaluation}
    return {**evaluated, "examples": setting.examples, "blessing": blessed}


def _check(inputs: dict[str, Any], path: Path, **parameters: Any) -> Any:
    """Runs the component; returns its blessing."""
    infra_blessing = artifact(standard_artifacts.InfraBlessing, path / "infra_blessing")
    defaults = {"max_p99_latency_ms": 5_000.0, "max_memory_mib": 2_048.0, "model_server": ""}
    ServingCheck.EXECUTOR_SPEC.executor_class().Do(
        {name: [artifact] for name, artifact in inputs.items()},
        {"infra_blessing": [infra_blessing]},
        {**defaults, **parameters},
    )
    return infra_blessing


def test_a_model_that_serves_what_was_evaluated_is_blessed(inputs, tmp_path, few_requests):
    infra_blessing = _check(inputs, tmp_path)
    checks = {check.name: check for check in blessing.checks_of(infra_blessing)}
    assert blessing.is_blessed(infra_blessing)
    assert Path(infra_blessing.uri, "INFRA_BLESSED").is_file()
    assert "of 100 test images" in checks["serving.agreement"].sentence

    refused = _check(inputs, tmp_path, max_memory_mib=1.0)
    assert not blessing.is_blessed(refused)
    (wrong,) = (check for check in blessing.checks_of(refused) if not check.passed)
    assert wrong.name == "serving.memory"


def test_a_model_that_is_refused_already_is_not_served(inputs, tmp_path):
    inputs["blessing"].set_int_custom_property(blessing.BLESSED, 0)
    # Nothing is looked at: this server would be an error.
    infra_blessing = _check(inputs, tmp_path, model_server="missing")
    assert not blessing.is_blessed(infra_blessing)
    assert Path(infra_blessing.uri, "INFRA_NOT_BLESSED").is_file()
    assert blessing.checks_of(infra_blessing) == ()


def test_a_server_that_is_not_there_is_an_error_and_no_refusal(inputs, tmp_path):
    with pytest.raises(FileNotFoundError, match="model_server is 'missing'"):
        _check(inputs, tmp_path, model_server="missing")


def test_a_check_that_cannot_be_made_blesses_nothing_either_way(inputs, tmp_path):
    server = tmp_path / "tensorflow_model_server"
    server.write_text("#!/bin/sh\nkill -KILL $$\n")
    server.chmod(0o755)
    with pytest.raises(NotChecked, match="the server ended with SIGKILL"):
        _check(inputs, tmp_path, model_server=str(server))
    assert not (tmp_path / "infra_blessing").exists()
