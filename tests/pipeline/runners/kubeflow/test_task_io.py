"""Each behaviour of the backend that `task_io` answers, named with the part that shows it."""

import json
from pathlib import Path

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from pipeline.runners.kubeflow import task_io
from pipeline.runners.kubeflow.task_io import Answer, ExecutorInput, TaskArtifact, TaskInputError
from tests.pipeline.runners.kubeflow.executor_inputs import artifact, executor_input


@pytest.fixture
def output_file(tmp_path: Path) -> Path:
    """In directories that nobody has made yet, as kfp's local runner leaves it."""
    return tmp_path / "run" / "task" / "executor_output.json"


def test_an_executor_input_is_read(output_file: Path) -> None:
    text = executor_input(
        output_file,
        parameters={"exec_properties": "{}", "seed": 3.0},
        inputs={"model": artifact("s3://b/model", name="7", version=2.0)},
        outputs={"blessing": artifact("s3://b/blessing")},
        output_parameters=("refusal",),
    )
    json_format.Parse(text, pipeline_spec_pb2.ExecutorInput())  # the tests' own idea of it
    assert ExecutorInput.parse(text) == ExecutorInput(
        parameters={"exec_properties": "{}", "seed": 3.0},
        inputs={"model": TaskArtifact("s3://b/model", {"version": 2.0}, "7")},
        outputs={"blessing": TaskArtifact("s3://b/blessing")},
        output_parameters=frozenset({"refusal"}),
        output_file=output_file,
    )


def test_driver_leaves_out_empty_inputs(output_file: Path) -> None:
    given = ExecutorInput.parse(json.dumps({"outputs": {"outputFile": str(output_file)}}))
    assert (given.parameters, given.inputs, given.outputs) == ({}, {}, {})


def test_driver_sends_an_artifact_list_without_artifacts(output_file: Path) -> None:
    message = {
        "inputs": {"artifacts": {"baseline_model": {}}},
        "outputs": {"outputFile": str(output_file)},
    }
    assert ExecutorInput.parse(json.dumps(message)).inputs == {}


@pytest.mark.parametrize(
    "text",
    ["{{$}}", "[]", "{}", '{"outputs": {}}', '{"outputs": "x"}', '{"outputs": {"outputFile": 5}}'],
)
def test_what_is_no_executor_input_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(TaskInputError, match="expected the JSON that the backend puts") as refused:
        ExecutorInput.parse(text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("gs://bucket/v2/model", "/gcs/bucket/v2/model"),
        ("s3://bucket/v2/model", "/s3/bucket/v2/model"),
        ("minio://mlpipeline/v2/model", "/minio/mlpipeline/v2/model"),
        ("/tmp/root/model", "/tmp/root/model"),  # kfp's local runner
    ],
)
def test_launcher_stages_artifacts_at_paths_made_of_their_uris(uri: str, path: str) -> None:
    assert str(TaskArtifact(uri).path) == path


def test_launcher_stages_no_other_scheme() -> None:
    with pytest.raises(TaskInputError, match="'hdfs://a', expected one of gs://, s3://, minio://"):
        _ = TaskArtifact("hdfs://a").path


def test_launcher_uploads_to_the_uri_in_the_answer_so_it_is_given_back(output_file: Path) -> None:
    given = ExecutorInput.parse(
        executor_input(
            output_file,
            outputs={"model": artifact("minio://b/model", name="model")},
            output_parameters=("digest",),
        )
    )
    given.write_answer(
        parameters={"digest": "1c77", "of another task": "{}"}, metadata={"model": {"version": 3}}
    )
    message = json_format.Parse(output_file.read_text(), pipeline_spec_pb2.ExecutorOutput())
    assert message.parameter_values["digest"].string_value == "1c77"
    (model,) = message.artifacts["model"].artifacts
    assert (model.uri, model.metadata["version"]) == ("minio://b/model", 3.0)
    assert Answer.parse(output_file.read_text()) == Answer(
        {"digest": "1c77"}, {"model": TaskArtifact("minio://b/model", {"version": 3}, "model")}
    )


def test_backend_records_declared_outputs_that_were_not_written_so_metadata_says_it() -> None:
    assert TaskArtifact("s3://b/model", {task_io.ABSENT: 1.0}).absent
    assert not TaskArtifact("s3://b/model", {"version": 1.0}).absent


def test_driver_passes_metadata_as_an_argument_so_long_texts_go_into_a_file(tmp_path: Path) -> None:
    metadata = {"blessed": 1, "checks": "x" * 1025, "short": "y" * 1024}
    kept = task_io.leave_long_texts(tmp_path, metadata)
    assert kept == {"blessed": 1, "short": "y" * 1024}
    assert TaskArtifact(str(tmp_path), kept).properties == metadata


def test_short_metadata_leaves_no_file(tmp_path: Path) -> None:
    assert task_io.leave_long_texts(tmp_path, {"checks": "[]"}) == {"checks": "[]"}
    assert list(tmp_path.iterdir()) == []


def test_launcher_says_only_the_exit_status_so_the_reason_goes_to_the_termination_log(
    tmp_path: Path,
) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    task_io.leave_message("refused by ReleaseGate: accuracy is 0.9", log)
    assert log.read_text() == "refused by ReleaseGate: accuracy is 0.9"


def test_kubelet_cuts_the_message_at_4096_bytes(tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    log.touch()
    task_io.leave_message("ä" * 4096, log)
    assert log.stat().st_size == 4096


def test_outside_of_kubernetes_there_is_no_termination_log(tmp_path: Path) -> None:
    task_io.leave_message("failed", tmp_path / "none")
    assert list(tmp_path.iterdir()) == []
