"""The runtime parameters: split off when compiled, joined again, and in the compiled file."""

from pathlib import Path

import pytest

from pipeline.config import ConfigError
from pipeline.config_model import build
from pipeline.runners.kubeflow import parameters
from pipeline.runners.kubeflow.parameters import CompiledFile
from tests.pipeline.runners.kubeflow.compiled import compiled
from tests.refusals import refusal_of
from trainer.host.errors import Refusal

OVERRIDES = {
    "dataset": "mnist",
    "seed": 5,
    "training.epochs": "3",
    "gate.floor": "0.97",
    "gate.max_drop": "0.01",
}


def _split(preset: str, overrides: dict) -> tuple[dict, dict]:
    return parameters.split(parameters.check(preset, overrides), overrides)


def test_what_a_run_may_change_becomes_defaults_and_the_rest_is_compiled_in() -> None:
    defaults, settings = _split("fast", OVERRIDES)
    assert defaults == {
        "dataset": "mnist",
        "preset": "fast",
        "seed": 5,
        "epochs": "3",
        "floor": "0.97",
    }
    assert settings == {"gate.max_drop": "0.01"}


def test_joined_again_they_are_the_configuration() -> None:
    again = parameters.read_back(*_split("fast", OVERRIDES))
    assert again == build("fast", OVERRIDES)


def test_what_is_not_said_is_the_presets_own_whichever_the_run_chooses() -> None:
    defaults, settings = _split("quick", {})
    assert (defaults["epochs"], defaults["floor"]) == ("", "")
    chosen = parameters.read_back({**defaults, "preset": "article"}, settings)
    assert chosen == build("article", {})


def test_backend_makes_every_number_a_double_so_the_seed_is_whole_again() -> None:
    defaults, settings = _split("quick", {})
    seed = parameters.read_back({**defaults, "seed": 7.0}, settings).seed
    assert (seed, type(seed)) == (7, int)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"preset": "quik"}, "did you mean 'quick'"),
        ({"epochs": "many"}, "training.epochs is 'many'"),
        ({"floor": "2"}, "gate.floor is '2'"),
        ({"seed": float("nan")}, "seed is nan, expected a whole number"),
        ({"seed": float("inf")}, "seed is inf, expected a whole number"),
        ({"seed": 2**31}, "seed is 2147483648, expected a whole number from 0 to"),
        ({"seed": "9" * 5_000}, "seed is '9+...9+', expected a whole number"),
        ({"preset": ""}, "unknown preset ''"),
        ({"dataset": ""}, "dataset is '', expected mnist_sample "),
        ({"dataset": "MNIST!"}, "dataset is 'MNIST!', expected mnist_sample "),
        ({"dataset": "idx:data"}, "dataset is 'idx:data', expected an absolute path"),
        ({"dataset": "csv:a.csv"}, "as the containers see it, such as csv:/mnt/CLAIM/NAME"),
        ({"dataset": "idx:~/data"}, "dataset is 'idx:~/data', expected an absolute path"),
    ],
)
def test_a_runs_bad_value_is_refused_by_the_keys_name(changes: dict, words: str) -> None:
    defaults, settings = _split("quick", {})
    with pytest.raises(Refusal, match=words):
        parameters.read_back({**defaults, **changes}, settings)


def test_an_older_uploads_missing_parameter_is_named() -> None:
    with pytest.raises(ConfigError, match="'seed' is missing, expected dataset, preset, seed"):
        parameters.read_back({"dataset": "mnist", "preset": "quick"}, {})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "pipeline.yaml"
    path.write_text(compiled().text)
    return path


def test_it_knows_what_was_compiled_in(path: Path) -> None:
    pipeline = CompiledFile.read(path)
    assert pipeline.root == "minio://mlpipeline/v2/artifacts"
    assert pipeline.defaults["seed"] == 3
    assert pipeline.settings["gate.max_drop"] == "0.01"


def test_its_version_is_named_by_its_content(path: Path) -> None:
    before = CompiledFile.read(path).version
    assert CompiledFile.read(path).version == before
    path.write_text(path.read_text() + "# changed\n")
    assert CompiledFile.read(path).version != before


def test_values_that_a_run_is_not_given_are_the_compiled_ones(path: Path) -> None:
    assert CompiledFile.read(path).values({"seed": "7"}) == {
        **{"dataset": "mnist_sample", "preset": "quick", "seed": 7, "epochs": "", "floor": ""}
    }


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none.yaml: No such file .*; make it"):
        CompiledFile.read(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "content",
    [
        *("", "a: 1\n", "a: 1\n---\nb: 2\n", "{", "text\n---\ntext\n", "\x00"),
        "root: {inputDefinitions: {parameters: [1]}}\n---\n{}\n",
        "root: {inputDefinitions: {parameters: [1]}, dag: {tasks: {plan: {inputs: {parameters: "
        "{settings: {runtimeValue: {constant: '{}'}}}}}}}}\ndefaultPipelineRoot: x\n---\n{}\n",
        *("[" * 5000, "a: &a [*a]\n---\n{}\n", "a: !!int b\n---\n{}\n", "a: 2026-13-45\n---\n{}\n"),
    ],
)
def test_what_is_no_compiled_pipeline_is_said(tmp_path: Path, content: str) -> None:
    path = tmp_path / "other.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"other.yaml is no pipeline of this version"):
        CompiledFile.read(path)


def test_the_backend_keeps_artifacts_where_its_own_root_says() -> None:
    assert refusal_of(ConfigError, parameters.check, "quick", {"artifacts": "s3://bucket/dir"}) == (
        "artifacts is 's3://bucket/dir', expected none: on Kubeflow the backend keeps them below "
        "the --pipeline-root"
    )
