"""TFX's artifacts out of the backend's description, and back."""

import json
from pathlib import Path

import pytest
from tfx.types import standard_artifacts

from pipeline.runners.kubeflow.task_io import TaskArtifact
from pipeline.runners.kubeflow.tasks import to_metadata, to_tfx
from tests.components.artifacts import artifact

EXAMPLES = "tfx.types.standard_artifacts.Examples"
MODEL = "tfx.types.standard_artifacts.Model"


def test_backend_makes_every_number_a_double_so_whole_ones_are_integers_again(
    tmp_path: Path,
) -> None:
    given = TaskArtifact(str(tmp_path), {"span": 2.0, "version": 0.0, "blessed": 1.0, "share": 0.5})
    examples = to_tfx(given, EXAMPLES)
    assert (examples.span, examples.version) == (2, 0)
    # An integer that was never set is 0 as well.
    assert examples.mlmd_artifact.properties["version"].WhichOneof("value") == "int_value"
    assert examples.get_int_custom_property("blessed") == 1
    assert examples.get_float_custom_property("share") == 0.5


def test_backend_keeps_no_schema_so_declared_properties_are_told_by_the_type(
    tmp_path: Path,
) -> None:
    given = TaskArtifact(str(tmp_path), {"split_names": '["train"]', "checks": "[]"})
    examples = to_tfx(given, EXAMPLES)
    assert isinstance(examples, standard_artifacts.Examples)
    assert examples.split_names == '["train"]'
    assert examples.get_string_custom_property("checks") == "[]"


def test_launcher_stages_inputs_so_the_uri_becomes_a_local_path() -> None:
    model = to_tfx(TaskArtifact("minio://b/model"), MODEL)
    assert model.uri == "/minio/b/model"


@pytest.mark.parametrize(("name", "expected"), [("17", 17), ("model", 0), ("", 0)])
def test_backend_names_artifacts_by_their_id_which_the_evaluator_notes(
    tmp_path: Path, name: str, expected: int
) -> None:
    assert to_tfx(TaskArtifact(str(tmp_path), {}, name), MODEL).id == expected


def test_properties_survive_the_way_through_the_backend(tmp_path: Path) -> None:
    made = artifact(standard_artifacts.Examples, tmp_path)
    made.split_names = '["train", "eval"]'
    made.set_int_custom_property("blessed", 1)
    made.set_string_custom_property("checks", json.dumps(["x" * 2000]))
    sent = to_metadata(made)
    assert set(sent) == {"split_names", "blessed"}  # the checks lie in a file
    again = to_tfx(TaskArtifact(str(tmp_path), sent), EXAMPLES)
    assert again.split_names == made.split_names
    assert again.get_int_custom_property("blessed") == 1
    assert again.get_string_custom_property("checks") == json.dumps(["x" * 2000])


def test_backend_fails_on_a_null_so_unset_properties_are_left_out(tmp_path: Path) -> None:
    made = artifact(standard_artifacts.Examples, tmp_path)
    made.mlmd_artifact.custom_properties["empty"].SetInParent()
    assert to_metadata(made) == {}


def test_what_the_backend_adds_of_other_kinds_is_passed_over(tmp_path: Path) -> None:
    given = TaskArtifact(str(tmp_path), {"store_session_info": {"a": 1}, "blessed": 1.0})
    artifact = to_tfx(given)
    assert list(artifact.mlmd_artifact.custom_properties) == ["blessed"]
    assert artifact.get_int_custom_property("blessed") == 1
