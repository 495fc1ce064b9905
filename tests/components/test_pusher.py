"""Publishing in a TFX pipeline: only with a blessing, once, and cached with all else."""

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local import local_dag_runner
from tfx.types import component_spec, standard_artifacts
from tfx.types.channel import Channel

from components.blessing import is_blessed
from components.pusher import AtomicPusher, AtomicPusherExecutor, release_record
from components.served_model import ReleaseContext, ServedModel, release_context
from components.serving_dir import MANIFEST_NAME, newest_valid, versions

SERVING_FORMAT = "Format-Serving"


def write_model(uri: Path, content: str) -> None:
    (uri / SERVING_FORMAT).mkdir(parents=True)
    (uri / SERVING_FORMAT / "saved_model.pb").write_text(content)


def artifact(kind: type, uri: Path) -> Any:
    made = kind()
    made.uri = str(uri)
    return made


@pytest.fixture
def serving(tmp_path: Path) -> Path:
    return tmp_path / "serving"


@pytest.fixture
def model(tmp_path: Path) -> Any:
    write_model(tmp_path / "model", "weights")
    return artifact(standard_artifacts.Model, tmp_path / "model")


@pytest.fixture
def blessing(tmp_path: Path) -> Any:
    (tmp_path / "blessing").mkdir()
    return artifact(standard_artifacts.ModelBlessing, tmp_path / "blessing")


def push(serving: Path, release: dict[str, object], **inputs: Any) -> Any:
    """Runs the executor as TFX does; returns the PushedModel artifact."""
    pushed = standard_artifacts.PushedModel()
    context = base_executor.BaseExecutor.Context(pipeline_run_id="run 1")
    AtomicPusherExecutor(context).Do(
        {key: [value] for key, value in inputs.items()},
        {"pushed_model": [pushed]},
        {"serving_dir": str(serving), "release": json.dumps(release)},
    )
    return pushed


# --- the executor --------------------------------------------------------------------------------


def test_blessed_model_is_published_with_its_release_record(
    model: Any, blessing: Any, serving: Path, tmp_path: Path
) -> None:
    blessing.set_int_custom_property("blessed", 1)
    examples = artifact(standard_artifacts.Examples, tmp_path)
    examples.set_string_custom_property("dataset", '{"name": "digits"}')

    pushed = push(
        serving, {"run_key": "key"}, model=model, model_blessing=blessing, examples=examples
    )

    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_int_custom_property("version") == 1
    assert pushed.get_int_custom_property("created") == 1
    assert pushed.get_string_custom_property("path") == str(serving / "1")
    assert pushed.get_string_custom_property("reason") == ""
    assert (serving / "1" / "saved_model.pb").read_text() == "weights"
    assert json.loads((serving / "1" / MANIFEST_NAME).read_text())["release"] == {
        "run_id": "run 1",
        "run_key": "key",
        "dataset": {"name": "digits"},
    }


@pytest.mark.parametrize("blessed", [0, None])
def test_unblessed_model_is_not_published(
    blessed: int | None, model: Any, blessing: Any, serving: Path
) -> None:
    if blessed is not None:
        blessing.set_int_custom_property("blessed", blessed)
    pushed = push(serving, {}, model=model, model_blessing=blessing)

    assert pushed.get_int_custom_property("pushed") == 0
    assert pushed.get_string_custom_property("reason") == "the evaluation did not bless the model"
    assert not serving.exists()


def test_same_model_is_not_published_twice(model: Any, blessing: Any, serving: Path) -> None:
    blessing.set_int_custom_property("blessed", 1)
    push(serving, {"run": 1}, model=model, model_blessing=blessing)
    pushed = push(serving, {"run": 2}, model=model, model_blessing=blessing)

    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_int_custom_property("version") == 1
    assert pushed.get_int_custom_property("created") == 0
    assert pushed.get_string_custom_property("reason") == "the model is version 1 already"
    assert [version.number for version in versions(serving)] == [1]


@pytest.mark.parametrize(
    ("prop", "file", "expected"),
    [(1, False, True), (0, True, False), (None, True, True), (None, False, False)],
)
def test_the_property_decides_and_the_file_where_there_is_none(
    prop: int | None, file: bool, expected: bool, blessing: Any
) -> None:
    if prop is not None:
        blessing.set_int_custom_property("blessed", prop)
    if file:
        (Path(blessing.uri) / "BLESSED").touch()
    assert is_blessed(blessing) is expected


def test_what_is_known_at_graph_time_wins() -> None:
    record = release_record({"run_id": "mine"}, run_id="tfx's", examples=None, evaluation=None)
    assert record == {"run_id": "mine"}


def test_no_blessing_wired_is_an_error() -> None:
    with pytest.raises(ValueError, match="only with a blessing"):
        AtomicPusher(
            model=Channel(type=standard_artifacts.Model),
            model_blessing=None,
            serving_dir="serving",
            release={},
        )


# --- in a pipeline, with TFX's cache -------------------------------------------------------------


class _Trainer(base_executor.BaseExecutor):
    def Do(self, input_dict: Any, output_dict: Any, exec_properties: Any) -> None:
        write_model(Path(output_dict["model"][0].uri), exec_properties["weights"])


class _TrainerSpec(component_spec.ComponentSpec):
    PARAMETERS: ClassVar = {"weights": component_spec.ExecutionParameter(type=str)}
    INPUTS: ClassVar = {}
    OUTPUTS: ClassVar = {"model": component_spec.ChannelParameter(type=standard_artifacts.Model)}


class FakeTrainer(base_component.BaseComponent):
    SPEC_CLASS = _TrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(_Trainer)

    def __init__(self, weights: str) -> None:
        model = Channel(type=standard_artifacts.Model)
        super().__init__(spec=_TrainerSpec(weights=weights, model=model))


class _Evaluator(base_executor.BaseExecutor):
    def Do(self, input_dict: Any, output_dict: Any, exec_properties: Any) -> None:
        [blessing] = output_dict["blessing"]
        blessing.set_int_custom_property("blessed", 1)
        compared_with = [
            (Path(baseline.uri) / SERVING_FORMAT / "saved_model.pb").read_text()
            for baseline in input_dict["baseline_model"]
        ]
        blessing.set_string_custom_property("compared_with", json.dumps(compared_with))


class _EvaluatorSpec(component_spec.ComponentSpec):
    PARAMETERS: ClassVar = {}
    INPUTS: ClassVar = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        # As TFX's Evaluator declares it.
        "baseline_model": component_spec.ChannelParameter(
            type=standard_artifacts.Model, optional=True
        ),
    }
    OUTPUTS: ClassVar = {
        "blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing)
    }


class FakeEvaluator(base_component.BaseComponent):
    SPEC_CLASS = _EvaluatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(_Evaluator)

    def __init__(self, model: Any, baseline_model: Any) -> None:
        blessing = Channel(type=standard_artifacts.ModelBlessing)
        super().__init__(
            spec=_EvaluatorSpec(model=model, baseline_model=baseline_model, blessing=blessing)
        )


class House:
    """A pipeline root and a serving directory, and runs from a model to its release."""

    def __init__(self, root: Path) -> None:
        self.root = root / "root"
        self.serving = root / "serving"
        self.database = metadata.sqlite_metadata_connection_config(str(root / "metadata.sqlite"))
        self.runs = 0

    def run(self, weights: str) -> dict[str, str]:
        """Runs the pipeline; returns what became of each node: its execution's last state."""
        self.runs += 1
        context = release_context(self.serving, run_key=weights, fresh_token=f"token {self.runs}")
        before = self._executions()
        local_dag_runner.LocalDagRunner().run(self._pipeline(weights, context))
        new = [run for key, run in self._executions().items() if key not in before]
        state_name = metadata_store_pb2.Execution.State.Name
        return {self._node(run): state_name(run.last_known_state) for run in new}

    def compared_with(self) -> list[str]:
        """Returns the baselines' contents that the last evaluation saw."""
        with metadata.Metadata(self.database) as handle:
            blessings = handle.store.get_artifacts_by_type("ModelBlessing")
        last = max(blessings, key=lambda blessing: blessing.id)
        return list(json.loads(last.custom_properties["compared_with"].string_value))

    def _pipeline(self, weights: str, context: ReleaseContext) -> pipeline.Pipeline:
        trainer = FakeTrainer(weights)
        served = ServedModel(serving_dir=str(self.serving), baseline=context.baseline)
        evaluator = FakeEvaluator(trainer.outputs["model"], served.outputs["model"])
        pusher = AtomicPusher(
            model=trainer.outputs["model"],
            model_blessing=evaluator.outputs["blessing"],
            serving_dir=str(self.serving),
            release={
                "run_key": weights,
                "release_token": context.token,
                "baseline": context.baseline.to_json() if context.baseline else None,
            },
        )
        return pipeline.Pipeline(
            pipeline_name="house",
            pipeline_root=str(self.root),
            components=[trainer, served, evaluator, pusher],
            enable_cache=True,
            metadata_connection_config=self.database,
        )

    def _executions(self) -> dict[int, Any]:
        with metadata.Metadata(self.database) as handle:
            return {run.id: run for run in handle.store.get_executions()}

    def _node(self, run: Any) -> str:
        with metadata.Metadata(self.database) as handle:
            [kind] = handle.store.get_execution_types_by_id([run.type_id])
        return str(kind.name).rsplit(".", 1)[-1]


NODES = ("FakeTrainer", "ServedModel", "FakeEvaluator", "AtomicPusher")


def states(*values: str) -> dict[str, str]:
    return dict(zip(NODES, values, strict=True))


# TFX 1.21's runner asks protobuf 6 for a field's label.
@pytest.mark.filterwarnings(r"ignore:label\(\) is deprecated:DeprecationWarning")
def test_release_flow_with_tfx_cache(tmp_path: Path) -> None:
    """One flow, since each step is the next one's premise."""
    house = House(tmp_path)

    # First release: no baseline, and the Evaluator's optional input is empty.
    assert house.run("one") == states("COMPLETE", "COMPLETE", "COMPLETE", "COMPLETE")
    assert house.compared_with() == []
    # The same again: everything comes from the cache, the empty output included.
    assert house.run("one") == states("CACHED", "CACHED", "CACHED", "CACHED")
    assert [version.number for version in versions(house.serving)] == [1]
    # A second model is compared with the first.
    assert house.run("two") == states("COMPLETE", "COMPLETE", "COMPLETE", "COMPLETE")
    assert house.compared_with() == ["one"]
    assert house.run("two") == states("CACHED", "CACHED", "CACHED", "CACHED")
    # Its version is deleted: released anew against the same baseline.
    for path in (house.serving / "2").iterdir():
        path.unlink()
    (house.serving / "2").rmdir()
    assert house.run("two") == states("CACHED", "CACHED", "CACHED", "COMPLETE")
    assert newest_valid(house.serving).number == 2
    # The first model once more: trained already, compared with what is served now.
    assert house.run("one") == states("CACHED", "COMPLETE", "COMPLETE", "COMPLETE")
    assert house.compared_with() == ["two"]
    assert [version.number for version in versions(house.serving)] == [1, 2, 3]
