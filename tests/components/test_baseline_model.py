"""What the Evaluator gets of the version to compare with."""

from pathlib import Path

import pytest
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components.baseline_model import BaselineModel, BaselineModelExecutor
from components.serving_dir import Baseline, ServingDirError, digest_of, publish
from tests.components.artifacts import artifact
from tests.components.serving_dir.samples import damage


def execute(component: BaselineModel, uri: Path) -> list[standard_artifacts.Model]:
    uri.mkdir()
    outputs = {"model": [artifact(standard_artifacts.Model, uri)]}
    BaselineModelExecutor().Do({}, outputs, dict(component.exec_properties))
    return outputs["model"]


def test_baseline_stands_where_tfx_looks_for_it(
    serving: Path, first_model: Path, tmp_path: Path
) -> None:
    publish(first_model, serving, {})
    baseline = Baseline(1, digest_of(first_model))

    [model] = execute(BaselineModel(serving_dir=str(serving), baseline=baseline), tmp_path / "uri")

    path = Path(path_utils.serving_model_path(model.uri))
    assert digest_of(path) == digest_of(first_model)
    assert model.get_int_custom_property("version") == 1


def test_no_baseline_means_no_artifact_and_no_directory(serving: Path, tmp_path: Path) -> None:
    component = BaselineModel(serving_dir=str(serving), baseline=None)
    assert execute(component, tmp_path / "uri") == []
    assert not (tmp_path / "uri").exists()


def test_damaged_baseline_is_refused(serving: Path, first_model: Path, tmp_path: Path) -> None:
    publish(first_model, serving, {})
    damage(serving, 1)
    component = BaselineModel(
        serving_dir=str(serving), baseline=Baseline(1, digest_of(first_model))
    )
    with pytest.raises(ServingDirError, match=r"version 1 .*'saved_model.pb' has SHA-256"):
        execute(component, tmp_path / "uri")


@pytest.mark.parametrize("number", [1, 3])
def test_baseline_replaced_or_deleted_meanwhile_is_refused(
    number: int, serving: Path, second_model: Path, tmp_path: Path
) -> None:
    publish(second_model, serving, {})
    component = BaselineModel(serving_dir=str(serving), baseline=Baseline(number, "d1"))
    message = rf"version {number} \(model d1\), is not in .* any more: start the run again"
    with pytest.raises(ServingDirError, match=message):
        execute(component, tmp_path / "uri")
