"""The release decision on real evaluations: what it blesses, and whose evaluation that must be."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tfx.dsl.components.base import base_executor
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components import blessing as blessings
from components import pictures, serving_dir
from components.evaluation import gate_metrics
from components.evaluation.release_gate import (
    Contradiction,
    ReleaseGateExecutor,
    require_own_evaluation,
)
from components.gate.check import Check
from components.gate.evidence import Evidence, Tally
from components.gate.policy import Policy
from components.pictures import GAINED, LABEL_ERRORS, LOST, WRONG
from components.serving_dir import LOG_NAME, Baseline, Comparison, digest_of, publish
from tests.components.artifacts import artifact
from tests.components.evaluated import BELOW, HELD, MISSED, ROWS, Setting, Verdict


@dataclasses.dataclass(frozen=True)
class Decided:
    """What the gate gave, and where it wrote the decision down."""

    blessing: Any
    serving: Path

    @property
    def blessed(self) -> bool:
        return blessings.is_blessed(self.blessing)

    @property
    def failed(self) -> list[str]:
        return [check.name for check in self.checks if not check.passed]

    @property
    def checks(self) -> tuple[Check, ...]:
        return blessings.checks_of(self.blessing)

    def find(self, name: str) -> Check:
        (check,) = (check for check in self.checks if check.name == name)
        return check

    @property
    def log(self) -> list[dict[str, Any]]:
        lines = (self.serving / LOG_NAME).read_text().splitlines()
        return [json.loads(line) for line in lines]


def decide(
    setting: Setting,
    verdict: Verdict,
    policy: Policy,
    path: Path,
    *,
    compared: bool = True,
    damage: str = "",
    run_id: str | None = "run 1",
    **changes: Any,
) -> Decided:
    """Runs the component's executor as TFX does; `changes` replace inputs."""
    blessing = artifact(standard_artifacts.ModelBlessing, path / f"blessing of {run_id}")
    inputs = {
        "examples": setting.examples,
        "model": setting.candidate,
        "evaluation": verdict.evaluation,
        "evaluator_blessing": verdict.blessing,
        **changes,
    }
    context = base_executor.BaseExecutor.Context(pipeline_run_id=run_id)
    ReleaseGateExecutor(context).Do(
        {
            **{key: [value] for key, value in inputs.items()},
            "baseline_model": [setting.baseline] if compared else [],
        },
        {"blessing": [blessing]},
        {
            "policy": json.dumps(policy.to_config()),
            "serving_dir": str(path / "serving"),
            "damage": damage,
        },
    )
    return Decided(blessing, path / "serving")


def test_a_model_that_holds_the_policy_is_blessed_with_every_check(setting, held, tmp_path) -> None:
    decided = decide(setting, held, HELD, tmp_path)
    assert decided.failed == []
    assert decided.blessed
    assert decided.find("integrity.rows").actual == 100
    assert decided.find("floor").required == HELD.floor
    assert {f"class.{name}" for name in ROWS} < {check.name for check in decided.checks}


def test_the_blessing_says_of_which_model_and_from_what(setting, held, tmp_path) -> None:
    facts = blessings.facts_of(decide(setting, held, HELD, tmp_path).blessing)
    assert facts is not None
    exported = Path(path_utils.serving_model_path(setting.candidate.uri))
    assert facts.model_digest == digest_of(exported)
    served = Path(path_utils.serving_model_path(setting.baseline.uri))
    assert facts.compared == Comparison(Baseline(7, digest_of(served)))
    assert facts.evidence.overall.correct == 96


def test_beside_the_blessing_lie_the_pictures_of_the_mistakes(setting, held, tmp_path) -> None:
    decided = decide(setting, held, HELD, tmp_path)
    shown = pictures.read(Path(decided.blessing.uri))
    # Three ants are labelled bee and one dog cat; the baseline sees a flag in two of the ants.
    assert {each.row for each in shown.groups[WRONG]} == {0, 3, 4, 8}
    assert {each.row for each in shown.groups[LOST]} == {0, 4}
    assert shown.groups[GAINED] == ()
    assert all(each.files == (each.sha256,) for each in shown.groups[WRONG])
    lost = shown.groups[LOST][0]
    assert (lost.label, lost.looks_like, lost.candidate[0][0]) == ("bee", "ant", "ant")
    assert lost.baseline[0][0] == "bee"
    assert {each.row for each in shown.groups[LABEL_ERRORS]} <= {0, 3, 4, 8}
    assert shown.examined == sum(each.rows for each in shown.bins) == 100
    assert 0 < shown.calibration_error < 1


def test_what_no_evaluator_can_see_is_refused_behind_it(setting, held, tmp_path) -> None:
    # 4 wrong of 100 hold the floor of all, yet 3 of 28 bees are too many where 1 of 200 is allowed.
    strict = dataclasses.replace(HELD, class_floor=0.995)
    decided = decide(setting, held, strict, tmp_path)
    assert not decided.blessed
    assert decided.failed == ["class.bee"]


def test_a_first_release_says_so(setting, first, tmp_path) -> None:
    decided = decide(setting, first, BELOW, tmp_path, compared=False)
    assert "there is no baseline" in decided.find("baseline").sentence
    assert blessings.facts_of(decided.blessing).compared == Comparison(None)


def test_a_damaged_served_model_is_refused(setting, held, tmp_path) -> None:
    decided = decide(setting, held, HELD, tmp_path, damage="version 2: has no manifest.json")
    assert decided.failed == ["baseline"]
    compared = blessings.facts_of(decided.blessing).compared
    assert compared.damage == "version 2: has no manifest.json"


def test_a_model_that_was_withdrawn_is_not_released_again(setting, held, tmp_path) -> None:
    for model in (setting.baseline, setting.candidate):
        path = Path(path_utils.serving_model_path(model.uri))
        serving_dir.publish(path, tmp_path / "serving", {})
    serving_dir.rollback(tmp_path / "serving", reason="confuses bees and ants")
    decided = decide(setting, held, HELD, tmp_path)
    assert decided.failed == ["integrity.withdrawn"]
    assert "confuses bees and ants" in decided.find("integrity.withdrawn").sentence


# --- whose evaluation that was -------------------------------------------------------------------


def test_the_evaluation_of_another_model_is_refused(setting, held, tmp_path) -> None:
    decided = decide(setting, held, HELD, tmp_path, model=setting.baseline)
    assert decided.failed == ["integrity.model"]


def test_a_test_split_that_lost_an_example_at_a_records_edge_is_refused(
    setting, held, tmp_path
) -> None:
    (file,) = Path(setting.examples.uri, "Split-test").glob("*.gz")
    cut = standard_artifacts.Examples()
    cut.copy_from(setting.examples)
    cut.uri = str(tmp_path / "cut")
    (tmp_path / "cut" / "Split-test").mkdir(parents=True)
    with tf.io.TFRecordWriter(str(tmp_path / "cut" / "Split-test" / file.name), "GZIP") as writer:
        for record in setting.serialized[:-1]:
            writer.write(record)
    decided = decide(setting, held, HELD, tmp_path, examples=cut)
    assert decided.failed == ["integrity.digest"]


def test_an_evaluation_of_fewer_examples_than_were_written_is_refused(
    setting, held, tmp_path
) -> None:
    more = standard_artifacts.Examples()
    more.copy_from(setting.examples)
    recorded = json.loads(more.get_string_custom_property("dataset"))
    recorded["splits"]["test"]["rows"] += 1
    more.set_string_custom_property("dataset", json.dumps(recorded))
    assert decide(setting, held, HELD, tmp_path, examples=more).failed == ["integrity.rows"]


# --- the test set's budget -----------------------------------------------------------------------


def test_each_decision_is_written_down_and_counted_once(setting, held, tmp_path) -> None:
    other = dataclasses.replace(HELD, class_floor=0.8)
    numbers = [
        decide(setting, held, policy, tmp_path, run_id=f"run {number}").find("test_budget").actual
        for number, policy in enumerate([HELD, other, HELD], start=1)
    ]
    assert numbers == [1, 2, 1]
    again = decide(setting, held, HELD, tmp_path, run_id="run 4")
    assert [line["run_id"] for line in again.log] == ["run 1", "run 2"]
    facts = blessings.facts_of(again.blessing)
    assert again.log[0]["model_digest"] == facts.model_digest
    assert again.log[0]["baseline_digest"] == facts.compared.baseline.model_digest


def test_a_lost_decision_log_is_said_with_the_decision(setting, held, tmp_path) -> None:
    first = decide(setting, held, HELD, tmp_path)
    digest = first.log[0]["test_digest"]
    (first.serving / LOG_NAME).unlink()
    released = {
        "dataset": {"splits": {"test": {"rows": 100, "class_counts": [100], "digest": digest}}},
        "checks": [check.to_dict() for check in first.checks],
    }
    publish(Path(setting.candidate.uri, "Format-Serving"), first.serving, released)
    said = decide(setting, held, HELD, tmp_path, run_id="run 2").find("test_budget").sentence
    assert "decision 2 on" in said
    assert "the decision log had lost 1 of those before" in said


def test_a_refusal_uses_the_test_set_up_and_what_stands_on_the_first_bounds_is_refused_then(
    setting, missed, held, tmp_path
) -> None:
    decide(setting, missed, MISSED, tmp_path, run_id="run 1")
    decided = decide(setting, held, HELD, tmp_path, run_id="run 2")
    assert decided.failed == ["floor", "max_drop"]
    assert "its 99.62 % lower bound" in decided.find("floor").sentence  # 1 - 0.05 10 / (11 12)


# --- the Evaluator's blessing and the decision ----------------------------------------------------


def test_a_model_that_the_evaluator_blesses_is_refused_when_a_bound_misses(
    setting, missed, tmp_path
) -> None:
    assert missed.blessed  # its accuracy 0.96 lies above the floor, and the lower bound below it
    decided = decide(setting, missed, MISSED, tmp_path)
    assert not decided.blessed
    assert decided.failed == ["floor", "cross_entropy", "not_worse", "max_drop"]


def test_a_model_that_the_evaluator_does_not_bless_is_refused_by_the_floor(
    setting, first, tmp_path
) -> None:
    assert not first.blessed
    decided = decide(setting, first, BELOW, tmp_path, compared=False)
    assert not decided.blessed
    assert "accuracy 0.9600; its 97.73 % lower bound" in decided.find("floor").sentence
    assert "floor" in decided.failed


def test_an_evaluation_by_another_floor_is_no_decision(setting, first, tmp_path) -> None:
    with pytest.raises(Contradiction, match=r"did not bless the model, but its accuracy 0\.96 is"):
        decide(setting, first, HELD, tmp_path, compared=False)
    assert not (tmp_path / "serving").exists()


@pytest.mark.parametrize("compared", [True, False])
def test_an_evaluation_that_compared_with_something_else_is_no_decision(compared: bool) -> None:
    evidence = Evidence({}, {}, {}, 0.0, 1.0, compared=not compared)
    with pytest.raises(Contradiction, match=r"compared with .* served model, but there is"):
        require_own_evaluation(evidence, HELD, blessed=True, compared=compared)


def test_an_evaluation_without_the_slices_is_no_decision(setting, held, tmp_path) -> None:
    facts = blessings.facts_of(decide(setting, held, HELD, tmp_path).blessing)
    assert facts is not None
    without = dict.fromkeys(facts.evidence.slices, Tally(0, 0))
    evidence = dataclasses.replace(facts.evidence, slices=without)
    with pytest.raises(
        Contradiction, match=r"0 of 100 test images in the slices of mean_intensity"
    ):
        require_own_evaluation(evidence, HELD, blessed=True, compared=True)


def test_an_evaluation_of_other_metrics_is_refused_by_its_name(
    setting, held, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(gate_metrics, "CROSS_ENTROPY", "crossentropy")  # as another config names it
    with pytest.raises(ValueError, match=r"has no metric 'crossentropy', expected that of an Eval"):
        decide(setting, held, HELD, tmp_path)
    assert not (tmp_path / "serving").exists()


def test_a_decision_that_no_run_made_names_none_in_the_log(setting, held, tmp_path) -> None:
    (line,) = decide(setting, held, HELD, tmp_path, run_id=None).log  # as TFX's InteractiveContext
    assert line["run_id"] == ""
