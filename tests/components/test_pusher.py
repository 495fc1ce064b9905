"""Publishing in a TFX pipeline: only with a blessing, once, and cached with all else."""

import json
from pathlib import Path
from typing import Any

import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local import local_dag_runner
from tfx.types import standard_artifacts
from tfx.types.channel import Channel

from components import blessing as blessings
from components.baseline_model import BaselineModel
from components.gate.check import Check, GateRefused
from components.gate.evidence import Evidence, Tally
from components.pusher import AtomicPusher
from components.serving_dir import (
    MANIFEST_NAME,
    Baseline,
    Comparison,
    ReleaseContext,
    approve,
    compared_now,
    digest_of,
    newest_valid,
    pending,
    publish,
    reject,
    release_context,
    rollback,
    versions,
)
from components.signing import KeyRefused, truster
from tests.components.artifacts import artifact
from tests.components.test_signing import write_keys

SERVING_FORMAT = "Format-Serving"
DATA_CHECK = Check("data.overlap", True, 0, 0.01, "no test image stands in train")
MODEL_CHECK = Check("floor", True, 0.98, 0.95, "accuracy is above 0.98")
INFRA_CHECK = Check("serving.load", True, 2.0, 120.0, "the model was loaded in 2.0 s")
FAILED = Check("floor", False, 0.9, 0.95, "accuracy is above 0.90 only")
NOTHING = Comparison(None)
EVIDENCE = Evidence(
    overall=Tally(rows=4, correct=3),
    classes={"0": Tally(rows=2, correct=1), "1": Tally(rows=2, correct=2)},
    slices={},
    cross_entropy=0.5,
    top_2_accuracy=1.0,
)


def write_model(uri: Path, content: str) -> None:
    (uri / SERVING_FORMAT).mkdir(parents=True)
    (uri / SERVING_FORMAT / "saved_model.pb").write_text(content)


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Any]:
    """A model that all gates bless, and its examples."""
    write_model(tmp_path / "model", "weights")
    model = artifact(standard_artifacts.Model, tmp_path / "model")
    examples = artifact(standard_artifacts.Examples, tmp_path / "examples")
    examples.set_string_custom_property("dataset", '{"name": "digits"}')
    data = artifact(standard_artifacts.ExampleAnomalies, tmp_path / "data")
    blessings.write(data, [DATA_CHECK])
    blessing = artifact(standard_artifacts.ModelBlessing, tmp_path / "blessing")
    blessings.write(blessing, [MODEL_CHECK], facts=facts(model))
    infra = artifact(standard_artifacts.InfraBlessing, tmp_path / "infra")
    blessings.write(infra, [INFRA_CHECK])
    return {
        "model": model,
        "examples": examples,
        "data_blessing": data,
        "model_blessing": blessing,
        "infra_blessing": infra,
    }


def facts(model: Any, compared: Comparison = NOTHING) -> blessings.ReleaseFacts:
    """What the release gate says of a model besides its checks."""
    digest = digest_of(Path(model.uri) / SERVING_FORMAT)
    return blessings.ReleaseFacts(EVIDENCE, digest, compared)


def push(
    serving: Path, release: dict[str, object], inputs: dict[str, Any], **parameters: str
) -> Any:
    """Runs the executor as TFX does; returns the PushedModel artifact."""
    pushed = standard_artifacts.PushedModel()
    AtomicPusher.EXECUTOR_SPEC.executor_class().Do(
        {key: [value] for key, value in inputs.items()},
        {"pushed_model": [pushed]},
        {"serving_dir": str(serving), "release": json.dumps(release), **parameters},
    )
    return pushed


# --- the executor --------------------------------------------------------------------------------


def test_a_version_has_its_documents_which_are_no_part_of_the_model(
    inputs: dict[str, Any], serving: Path
) -> None:
    digest = digest_of(Path(inputs["model"].uri) / SERVING_FORMAT)
    push(serving, {"card": {"owner": "the forms team"}}, inputs)
    (version,) = versions(serving, check_files=True)
    assert (version.problems, version.model_digest) == ((), digest)
    assert list(version.manifest.files) == ["saved_model.pb"]
    assert list(version.manifest.documents) == ["MODEL_CARD.md", "bom.cdx.json"]
    assert "- Owner: the forms team\n" in (version.path / "MODEL_CARD.md").read_text()
    assert (
        push(serving, {"card": {"owner": "another"}}, inputs).get_int_custom_property("created")
        == 0
    )


def test_what_a_search_found_is_in_the_release_record(
    inputs: dict[str, Any], serving: Path, tmp_path: Path
) -> None:
    found = tmp_path / "found" / "best_hyperparameters.txt"
    found.parent.mkdir()
    found.write_text(json.dumps({"space": [], "values": {"dropout": 0.2, "tuner/epochs": 3}}))
    inputs["hyperparameters"] = artifact(standard_artifacts.HyperParameters, found.parent)
    push(serving, {"training": {"epochs": 5, "dropout": 0.5, "extra": {"units": 2}}}, inputs)
    (version,) = versions(serving)
    training = {"epochs": 5, "dropout": 0.2, "extra": {"units": 2}}
    assert version.manifest.release["training"] == training


def test_blessed_model_is_published_with_its_release_record(
    inputs: dict[str, Any], serving: Path
) -> None:
    pushed = push(serving, {"run_id": "run 1", "run_key": "key"}, inputs)

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
        "metrics": EVIDENCE.metrics,
        "baseline": None,
        "checks": [check.to_dict() for check in (DATA_CHECK, MODEL_CHECK, INFRA_CHECK)],
    }


def test_a_model_that_is_to_be_held_waits_with_its_release_record(
    inputs: dict[str, Any], serving: Path
) -> None:
    pushed = push(serving, {"run_key": "key"}, inputs, hold="run-1")
    assert pushed.get_int_custom_property("pushed") == 0
    assert pushed.get_string_custom_property("held") == "run-1"
    assert pushed.get_string_custom_property("path") == str(serving / ".pending-run-1")
    assert versions(serving) == []
    approve(serving, "run-1", by="Ann", reason="why")
    (version,) = versions(serving)
    assert version.manifest.release["checks"] == [
        check.to_dict() for check in (DATA_CHECK, MODEL_CHECK, INFRA_CHECK)
    ]
    again = push(serving, {"run_key": "key"}, inputs, hold="run-2")
    assert [again.get_int_custom_property(name) for name in ("pushed", "created")] == [1, 0]
    assert again.get_string_custom_property("held") == ""


def test_where_the_run_signs_its_held_model_is_to_be_signed_and_only_signed_ones_are_baselines(
    inputs: dict[str, Any], serving: Path, tmp_path: Path
) -> None:
    private, public = write_keys(tmp_path / "keys")
    write_model(tmp_path / "rival", "rival")
    publish(tmp_path / "rival" / SERVING_FORMAT, serving, {})
    compared = facts(inputs["model"], compared_now(serving, truster(public)))
    blessings.write(inputs["model_blessing"], [MODEL_CHECK], facts=compared)
    assert_refused("compared with no version because of damage: .*: not signed", inputs, serving)
    keys = {"signing_key": str(private), "public_key": str(public)}
    push(serving, {}, inputs, hold="run-1", **keys)
    (held,) = pending(serving)
    assert held.signed
    assert push(serving, {}, inputs, **keys).get_int_custom_property("version") == 2


def test_nothing_is_signed_with_a_key_that_was_exchanged_since_the_run_began(
    inputs: dict[str, Any], serving: Path, tmp_path: Path
) -> None:
    private, public = write_keys(tmp_path / "keys")
    write_keys(tmp_path / "others")[0].replace(private)
    keys = {"signing_key": str(private), "public_key": str(public)}
    for hold in ("", "run-1"):
        with pytest.raises(KeyRefused, match="signs for another public key than"):
            push(serving, {}, inputs, hold=hold, **keys)
    assert not serving.exists()


def test_a_rejected_model_is_refused(inputs: dict[str, Any], serving: Path) -> None:
    push(serving, {}, inputs, hold="run-1")
    reject(serving, "run-1", by="Ann", reason="confuses 4 and 9")
    for hold in ("", "run-2"):
        with pytest.raises(GateRefused, match=r"rejected by Ann at .*: confuses 4 and 9"):
            push(serving, {}, inputs, hold=hold)


@pytest.mark.parametrize("gate", ["data_blessing", "model_blessing", "infra_blessing"])
@pytest.mark.parametrize("checks", [[], [FAILED]], ids=["nothing", "no"])
def test_a_model_that_one_gate_does_not_bless_is_neither_published_nor_held(
    gate: str, checks: list[Check], inputs: dict[str, Any], serving: Path
) -> None:
    blessings.write(inputs[gate], checks, facts=facts(inputs["model"]))
    for hold in ("", "run-1"):
        pushed = push(serving, {}, inputs, hold=hold)
        assert pushed.get_int_custom_property("pushed") == 0
        assert pushed.get_string_custom_property("reason") == f"refused by {gate}"
    assert not serving.exists()


def test_a_model_is_not_published_on_the_blessing_of_another_gate(
    inputs: dict[str, Any], serving: Path
) -> None:
    blessings.write(inputs["model_blessing"], [MODEL_CHECK])
    with pytest.raises(ValueError, match="released on, expected that of ReleaseGate"):
        push(serving, {}, inputs)
    assert not serving.exists()


@pytest.mark.parametrize("release", [[], "quick"])
def test_a_release_that_is_no_json_object_is_an_error(
    release: Any, inputs: dict[str, Any], serving: Path
) -> None:
    with pytest.raises(ValueError, match=r"^release is .*, expected a JSON object: use"):
        push(serving, release, inputs)
    assert not serving.exists()


def assert_refused(message: str, inputs: dict[str, Any], serving: Path) -> None:
    """Asserts that the component says no with every check, and that nothing is published."""
    before = [version.number for version in versions(serving)]
    with pytest.raises(GateRefused, match=message) as caught:
        push(serving, {}, inputs)
    failed, *passed = caught.value.checks
    assert (failed.name, failed.passed) == ("integrity.current", False)
    assert passed == [DATA_CHECK, MODEL_CHECK, INFRA_CHECK]
    assert [version.number for version in versions(serving)] == before


def test_a_model_compared_with_what_is_not_served_any_more_is_not_published(
    inputs: dict[str, Any], serving: Path, tmp_path: Path
) -> None:
    write_model(tmp_path / "rival", "rival")
    publish(tmp_path / "rival" / SERVING_FORMAT, serving, {})
    assert_refused(r"compared with no version, but .* version 1 .*; run again", inputs, serving)


def test_a_model_that_was_withdrawn_after_the_decision_is_not_published_by_a_retry(
    inputs: dict[str, Any], serving: Path, tmp_path: Path
) -> None:
    write_model(tmp_path / "rival", "rival")
    publish(tmp_path / "rival" / SERVING_FORMAT, serving, {})
    compared = facts(inputs["model"], compared_now(serving))
    blessings.write(inputs["model_blessing"], [MODEL_CHECK], facts=compared)
    push(serving, {}, inputs)
    rollback(serving, reason="sevens")
    assert_refused(
        r"since the decision this very model was withdrawn by version 3 .*: sevens", inputs, serving
    )


def test_the_release_record_says_what_the_gate_compared_with(
    inputs: dict[str, Any], serving: Path, tmp_path: Path
) -> None:
    write_model(tmp_path / "rival", "rival")
    digest = publish(tmp_path / "rival" / SERVING_FORMAT, serving, {}).model_digest
    compared = facts(inputs["model"], Comparison(Baseline(1, digest)))
    blessings.write(inputs["model_blessing"], [MODEL_CHECK], facts=compared)
    push(serving, {}, inputs)
    assert newest_valid(serving).manifest.release["baseline"] == {
        "version": 1,
        "model_digest": digest,
    }


def test_same_model_is_not_published_twice(inputs: dict[str, Any], serving: Path) -> None:
    push(serving, {"run": 1}, inputs)
    pushed = push(serving, {"run": 2}, inputs)

    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_int_custom_property("version") == 1
    assert pushed.get_int_custom_property("created") == 0
    assert pushed.get_string_custom_property("reason") == "the model is version 1 already"
    assert [version.number for version in versions(serving)] == [1]


@pytest.mark.parametrize("gate", ["data_blessing", "model_blessing", "infra_blessing"])
def test_no_blessing_wired_is_an_error(gate: str) -> None:
    channels: dict[str, Any] = {
        "model": Channel(type=standard_artifacts.Model),
        "examples": Channel(type=standard_artifacts.Examples),
        "data_blessing": Channel(type=standard_artifacts.ExampleAnomalies),
        "model_blessing": Channel(type=standard_artifacts.ModelBlessing),
        "infra_blessing": Channel(type=standard_artifacts.InfraBlessing),
    }
    del channels[gate]
    with pytest.raises(ValueError, match=f"AtomicPusher expects input '{gate}'"):
        AtomicPusher(**channels, serving_dir="serving", release="{}")


# --- in a pipeline, with TFX's cache -------------------------------------------------------------


@component
def FakeTrainer(model: OutputArtifact[standard_artifacts.Model], weights: Parameter[str]) -> None:
    write_model(Path(model.uri), weights)


@component
def FakeEvaluator(
    model: InputArtifact[standard_artifacts.Model],
    blessing: OutputArtifact[standard_artifacts.ModelBlessing],
    examples: OutputArtifact[standard_artifacts.Examples],
    data_blessing: OutputArtifact[standard_artifacts.ExampleAnomalies],
    infra_blessing: OutputArtifact[standard_artifacts.InfraBlessing],
    # Optional, as TFX's Evaluator declares it.
    baseline_model: InputArtifact[standard_artifacts.Model] = None,
) -> None:
    """Stands for all that the pusher needs besides the model."""
    compared, compared_with = NOTHING, []
    if baseline_model is not None:
        digest = facts(baseline_model).model_digest
        compared = Comparison(Baseline(baseline_model.get_int_custom_property("version"), digest))
        served = Path(baseline_model.uri) / SERVING_FORMAT / "saved_model.pb"
        compared_with = [served.read_text()]
    blessings.write(blessing, [MODEL_CHECK], facts=facts(model, compared))
    blessings.write(data_blessing, [DATA_CHECK])
    blessings.write(infra_blessing, [INFRA_CHECK])
    examples.set_string_custom_property("dataset", "{}")
    blessing.set_string_custom_property("compared_with", json.dumps(compared_with))


class House:
    """A pipeline root and a serving directory, and runs from a model to its release."""

    def __init__(self, root: Path) -> None:
        self.root = root / "root"
        self.serving = root / "serving"
        self.database = metadata.sqlite_metadata_connection_config(str(root / "metadata.sqlite"))
        self.runs = 0

    def run(self, weights: str, signing_key: str = "") -> dict[str, str]:
        """Runs the pipeline; returns what became of each node: its execution's last state."""
        self.runs += 1
        token = f"token {self.runs}"
        context = release_context(self.serving, weights, token, signs=bool(signing_key))
        before = self._executions()
        local_dag_runner.LocalDagRunner().run(self._pipeline(weights, context, signing_key))
        new = [run for key, run in self._executions().items() if key not in before]
        state_name = metadata_store_pb2.Execution.State.Name
        return {self._node(run): state_name(run.last_known_state) for run in new}

    def compared_with(self) -> list[str]:
        """Returns the baselines' contents that the last evaluation saw."""
        with metadata.Metadata(self.database) as handle:
            blessings = handle.store.get_artifacts_by_type("ModelBlessing")
        last = max(blessings, key=lambda blessing: blessing.id)
        return list(json.loads(last.custom_properties["compared_with"].string_value))

    def _pipeline(
        self, weights: str, context: ReleaseContext, signing_key: str
    ) -> pipeline.Pipeline:
        trainer = FakeTrainer(weights=weights)
        served = BaselineModel(serving_dir=str(self.serving), baseline=context.baseline)
        evaluator = FakeEvaluator(
            model=trainer.outputs["model"], baseline_model=served.outputs["model"]
        )
        pusher = AtomicPusher(
            model=trainer.outputs["model"],
            examples=evaluator.outputs["examples"],
            data_blessing=evaluator.outputs["data_blessing"],
            model_blessing=evaluator.outputs["blessing"],
            infra_blessing=evaluator.outputs["infra_blessing"],
            serving_dir=str(self.serving),
            release=json.dumps({"run_key": weights, "release_token": context.token}),
            signing_key=signing_key,
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


NODES = ("FakeTrainer", "BaselineModel", "FakeEvaluator", "AtomicPusher")


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
    # The same, but signed: released anew, once.
    private = str(write_keys(tmp_path)[0])
    assert house.run("one", private) == states("CACHED", "COMPLETE", "COMPLETE", "COMPLETE")
    assert house.compared_with() == ["one"]
    assert house.run("one", private) == states("CACHED", "CACHED", "CACHED", "CACHED")
    assert [version.is_signed for version in versions(house.serving)] == [False] * 3 + [True]
