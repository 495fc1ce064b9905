"""A compiled pipeline is read again, and the values of a run are checked against it."""

from pathlib import Path

import pytest

from pipeline.config import ConfigError
from pipeline.runners.kubeflow.pipeline_file import PipelineFile
from tests.pipeline.runners.kubeflow.compiled import compiled


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "pipeline.yaml"
    path.write_text(compiled().text)
    return path


def test_it_knows_what_was_compiled_in(path: Path) -> None:
    pipeline = PipelineFile.read(path)
    assert (pipeline.name, pipeline.root) == ("tfx-mnist", "minio://mlpipeline/v2/artifacts")
    assert pipeline.defaults["seed"] == 3
    assert pipeline.settings["gate.max_drop"] == "0.01"


def test_its_version_is_named_by_its_content(path: Path) -> None:
    before = PipelineFile.read(path).version
    assert PipelineFile.read(path).version == before
    path.write_text(path.read_text() + "# changed\n")
    assert PipelineFile.read(path).version != before


def test_values_that_a_run_is_not_given_are_the_compiled_ones(path: Path) -> None:
    assert PipelineFile.read(path).values({"seed": 7}) == {
        **{"dataset": "mnist_sample", "preset": "quick", "seed": 7, "epochs": "", "floor": ""}
    }


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"preset": "quik"}, "unknown preset 'quik': did you mean 'quick'"),
        ({"epochs": "many"}, "training.epochs is 'many', expected a whole number"),
        ({"floor": "2"}, "gate.floor is '2', expected a fraction from 0 to 1"),
        ({"dataset": "MNIST!"}, "dataset is 'MNIST!', expected mnist_sample, idx:DIR"),
        ({"seed": 2**31}, "seed is 2147483648, expected 0 to 2147483647"),
    ],
)
def test_values_that_the_cluster_would_refuse_are_refused(
    path: Path, given: dict, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        PipelineFile.read(path).values(given)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none.yaml: No such file .*; make it"):
        PipelineFile.read(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "content",
    [
        *("", "a: 1\n", "a: 1\n---\nb: 2\n", "{", "text\n---\ntext\n", "\x00"),
        "root: {inputDefinitions: {parameters: [1]}}\n---\n{}\n",
        *("[" * 5000, "a: &a [*a]\n---\n{}\n", "a: !!int b\n---\n{}\n", "a: 2026-13-45\n---\n{}\n"),
    ],
)
def test_what_is_no_compiled_pipeline_is_said(tmp_path: Path, content: str) -> None:
    path = tmp_path / "other.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"other.yaml is no pipeline of this version"):
        PipelineFile.read(path)
