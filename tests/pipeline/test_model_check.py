"""Any SavedModel before the gate: what is decided, on whose behalf, and what is written down."""

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import tensorflow as tf

from components import serving_dir
from components.data_gate.bounds import DataGateConfig
from components.evaluation.saved_model import ModelRefused
from components.example_gen.data_error import DataError
from components.gate.check import Check
from components.gate.evidence import Tally
from components.serving_dir import LOG_NAME, digest_of, publish
from components.serving_dir.decisions import register
from components.serving_dir.log import Decision
from pipeline.config import RunConfig
from pipeline.config_model import build
from pipeline.model_check import Asked, GateResult, check_model
from pipeline.result import json_able
from tests.pipeline.saved_models import brightest_third, images, save_function
from tests.refusals import refusal_of
from trainer.host.errors import Refusal

# 60 test images tell little: what holds for them must be asked loosely.
LOOSE = {
    "gate.floor": 0.8,
    "gate.class_floor": 0.8,
    "gate.max_drop": 0.2,
    "gate.max_cross_entropy": 2.0,
}


def darkest_third(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
    """Wrong about every image."""
    return brightest_third(255 - pixels)


def nan_for_the_first(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
    """Of each batch; there is one."""
    ones = tf.ones([tf.shape(pixels)[0] - 1, 3])
    broken = tf.concat([tf.fill([1, 3], float("nan")), ones], axis=0)
    return {"scores": brightest_third(pixels)["scores"] * broken}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    with_channels, without = images(12, 12, 1), images(12, 12)
    return {
        "good": save_function(folder / "good", brightest_third, with_channels),
        "same": save_function(folder / "same", brightest_third, without, signature="classify"),
        "bad": save_function(folder / "bad", darkest_third, with_channels),
        "broken": save_function(folder / "broken", nan_for_the_first, with_channels),
    }


@pytest.fixture
def config(thirds: str, tmp_path: Path) -> RunConfig:
    root = str(tmp_path / "root")
    return build("quick", {"dataset": thirds, "pipeline_root": root, **LOOSE})


def failed(result: GateResult) -> list[str]:
    return [check.name for check in result.checks if not check.passed]


def find(result: GateResult, name: str) -> Check:
    (check,) = (check for check in result.checks if check.name == name)
    return check


def nothing_logged(config: RunConfig) -> bool:
    return not Path(config.pipeline_root, "serving").exists()


# --- the decision --------------------------------------------------------------------------------


def test_a_good_model_passes_on_what_the_test_split_says(
    config: RunConfig, models: dict[str, Path]
) -> None:
    result = check_model(config, Asked(models["good"]))
    assert result.passed
    # One of the two images that are nearly equal, and labelled differently, is wrong.
    assert result.evidence.overall == Tally(rows=60, correct=59)
    assert find(result, "integrity.rows").required == 60
    assert "there is no baseline" in find(result, "baseline").sentence
    assert find(result, "floor").required == 0.8


def test_without_settings_the_sets_own_policy_holds(
    config: RunConfig, models: dict[str, Path]
) -> None:
    own = dataclasses.replace(config, gate=RunConfig().gate)
    result = check_model(own, Asked(models["good"]))
    # 59 of 60 are above 0.93 with 95 % confidence, an unknown set asks for 0.95.
    assert find(result, "floor").required == 0.95
    assert "floor" in failed(result)


def test_equal_models_of_different_signatures_are_compared(
    config: RunConfig, models: dict[str, Path]
) -> None:
    result = check_model(config, Asked(models["same"], "classify"), Asked(models["good"]))
    assert result.passed
    assert find(result, "not_worse").sentence.startswith("0 gained and 0 lost of 60 test images")
    assert (result.model.takes, result.model.signature) == (
        "pixels without a channel axis",
        "classify",
    )
    assert (result.baseline.takes, result.baseline.signature) == ("pixels", "serving_default")


def test_another_signature_of_a_model_is_another_decision(
    config: RunConfig, tmp_path: Path
) -> None:
    module, takes = tf.Module(), [images(12, 12, 1)]
    module.good = tf.function(brightest_third, input_signature=takes)
    module.bad = tf.function(darkest_third, input_signature=takes)
    signatures = {"good": module.good, "bad": module.bad}
    tf.saved_model.save(module, str(tmp_path / "both"), signatures=signatures)
    refused = check_model(config, Asked(tmp_path / "both", "bad"))
    passed = check_model(config, Asked(tmp_path / "both", "good"))
    assert (refused.passed, passed.passed) == (False, True)
    assert find(passed, "test_budget").sentence.startswith("decision 2 on this test set")


def test_a_worse_model_than_the_baseline_is_refused(
    config: RunConfig, models: dict[str, Path]
) -> None:
    result = check_model(config, Asked(models["bad"]), Asked(models["good"]))
    assert not result.passed
    assert {"floor", "not_worse", "max_drop", "class.0", "class_change.0"} < set(failed(result))
    assert find(result, "not_worse").sentence.startswith("0 gained and 59 lost of 60 test images")


def test_probabilities_that_are_no_numbers_are_refused_by_the_gate(
    config: RunConfig, models: dict[str, Path]
) -> None:
    result = check_model(config, Asked(models["broken"]))
    assert failed(result) == ["integrity.finite", "cross_entropy"]
    assert "1 of 60 predictions hold NaN" in find(result, "integrity.finite").sentence


def test_the_result_is_json_also_where_a_metric_is_none(
    config: RunConfig, models: dict[str, Path]
) -> None:
    fields = json_able(check_model(config, Asked(models["broken"])).to_dict())
    assert json.loads(json.dumps(fields, allow_nan=False)) == fields
    assert list(fields) == [
        *("decision", "checks", "left_out", "metrics", "dataset", "model", "baseline", "log")
    ]
    assert fields["left_out"] == []
    assert fields["decision"] == "refused"
    assert fields["metrics"]["cross_entropy"] is None
    assert fields["dataset"]["splits"]["test"]["rows"] == 60
    assert fields["model"] == {
        "path": str(models["broken"]),
        "digest": digest_of(models["broken"]),
        "signature": "serving_default",
        "takes": "pixels",
    }


# --- what is served, and what was ----------------------------------------------------------------


@pytest.fixture
def version(models: dict[str, Path], tmp_path: Path) -> Path:
    """The good model, published."""
    return publish(models["good"], tmp_path / "published", {}).path


def test_a_published_version_is_the_model_that_was_published(
    config: RunConfig, models: dict[str, Path], version: Path
) -> None:
    result = check_model(config, Asked(version), Asked(version))
    assert result.model.digest == result.baseline.digest == digest_of(models["good"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("rm version/saved_model.pb", "there is no SavedModel in .*version: it holds no saved_mod"),
        ("touch version/more", "does not match its manifest: .*file 'more' is not in manifest"),
        ("rm -r version; touch version", "there is no SavedModel in .*version: it is a file"),
        ("rm -r version; mkdir version", "there is no SavedModel in .*version: it is empty"),
    ],
)
def test_a_baseline_that_was_named_and_cannot_be_read_is_no_decision(
    config: RunConfig,
    models: dict[str, Path],
    version: Path,
    change: str,
    words: str,
) -> None:
    subprocess.run(change.replace("version", str(version)), shell=True, check=True)
    gate = dataclasses.replace(config.gate, allow_missing_baseline=True)  # of what is served
    with pytest.raises(ModelRefused, match=words.replace("version", str(version.name))):
        check_model(dataclasses.replace(config, gate=gate), Asked(models["good"]), Asked(version))
    assert nothing_logged(config)


def test_a_damaged_candidate_is_not_decided_on(config: RunConfig, version: Path) -> None:
    (version / "more").touch()
    assert refusal_of(ModelRefused, check_model, config, Asked(version)) == (
        f"the model does not match its manifest: {version}: file 'more' is not in manifest.json; "
        "give a whole copy, or one without manifest.json"
    )
    assert nothing_logged(config)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["1", "0", "2"], "label 0 is 1, expected 0"),
        (["0", "1", "two"], "with two, expected 2"),
        (["0", "1", "2", "3"], "4 classes, with 3, expected 3"),
    ],
)
def test_a_version_of_other_classes_is_no_baseline_and_no_candidate(
    config: RunConfig, models: dict[str, Path], tmp_path: Path, names: list[str], words: str
) -> None:
    release = {"dataset": {"class_names": names}}
    other = publish(models["good"], tmp_path / "published", release).path
    for asked in ([Asked(models["good"]), Asked(other)], [Asked(other)]):
        assert refusal_of(ModelRefused, check_model, config, *asked) == (
            f"the model {other} was released for other classes than those of the data set: {words};"
            " give one of these classes, or, if only names differ, a copy without manifest.json"
        )
    assert nothing_logged(config)


def test_a_version_of_the_same_classes_is_compared(
    config: RunConfig, models: dict[str, Path], tmp_path: Path
) -> None:
    release = {"dataset": {"class_names": ["0", "1", "2"]}}
    version = publish(models["good"], tmp_path / "published", release).path
    assert check_model(config, Asked(models["good"]), Asked(version)).passed


def test_a_model_that_was_withdrawn_is_refused(
    config: RunConfig, models: dict[str, Path], tmp_path: Path
) -> None:
    serving = dataclasses.replace(config, serving_dir=str(tmp_path / "serving"))
    for name in ("same", "good"):
        publish(models[name], tmp_path / "serving", {})
    serving_dir.rollback(tmp_path / "serving", reason="confuses thirds")
    result = check_model(serving, Asked(models["good"]))
    assert failed(result) == ["integrity.withdrawn"]
    assert "confuses thirds" in find(result, "integrity.withdrawn").sentence


# --- the decision log ----------------------------------------------------------------------------


def test_each_decision_is_counted_once_with_those_of_runs(
    config: RunConfig, models: dict[str, Path]
) -> None:
    def number(model: str, baseline: str | None = None) -> float | str | None:
        asked = Asked(models[baseline]) if baseline else None
        return find(check_model(config, Asked(models[model]), asked), "test_budget").actual

    assert [number("good"), number("bad"), number("bad", "good"), number("good")] == [1, 2, 3, 1]
    (log,) = Path(config.pipeline_root, "serving").glob(f"*/{LOG_NAME}")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["run_id"] for line in lines] == ["gate check"] * 3
    of_a_run = Decision(lines[0]["test_digest"], "another model", None, "its policy")
    assert register(log.parent, of_a_run, run_id="a run").number == 4
    assert number("broken") == 5


def test_a_copy_with_a_manifest_is_the_same_model(
    config: RunConfig, models: dict[str, Path], version: Path, tmp_path: Path
) -> None:
    first = check_model(config, Asked(models["good"]))
    shutil.copytree(version, tmp_path / "copy")
    again = check_model(config, Asked(tmp_path / "copy"))
    assert find(again, "test_budget").actual == find(first, "test_budget").actual == 1


# --- what cannot be decided, and leaves no trace in the log --------------------------------------


def test_no_saved_model_is_said_before_data_are_looked_for(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    config = build("quick", {"dataset": "no_such_set", "pipeline_root": str(tmp_path / "root")})
    with pytest.raises(ModelRefused, match="there is no SavedModel in"):
        check_model(config, Asked(tmp_path / "model"))
    assert not (tmp_path / "root").exists()


def test_logits_are_no_decision(config: RunConfig, tmp_path: Path) -> None:
    def logits(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"logits": tf.math.log(brightest_third(pixels)["scores"])}

    path = save_function(tmp_path / "model", logits, images(12, 12, 1))
    with pytest.raises(ModelRefused, match="export a signature that ends in a softmax"):
        check_model(config, Asked(path))
    assert nothing_logged(config)


def test_a_baseline_that_does_not_fit_is_no_decision_either(
    config: RunConfig, models: dict[str, Path]
) -> None:
    with pytest.raises(ModelRefused, match="has no signature 'classify'"):
        check_model(config, Asked(models["good"]), Asked(models["good"], "classify"))
    assert nothing_logged(config)


def test_a_split_that_lost_a_row_is_refused(
    config: RunConfig, models: dict[str, Path], thirds: str, tmp_path: Path
) -> None:
    data = shutil.copytree(thirds.removeprefix("idx:"), tmp_path / "data")
    (path,) = data.glob("t10k-images*")
    images = path.read_bytes()
    path.write_bytes(images[: -12 * 12])  # pixels of one image
    cut = dataclasses.replace(config, dataset=f"idx:{data}")
    with pytest.raises(DataError, match="truncated: it holds 59 images, expected the 60"):
        check_model(cut, Asked(models["good"]))
    assert nothing_logged(config)


@pytest.mark.parametrize(("bound", "wrong"), [(0.01, ["data.duplicates"]), (0.05, [])])
def test_copies_in_the_test_split_are_no_further_evidence(
    bound: float,
    wrong: list[str],
    config: RunConfig,
    models: dict[str, Path],
    thirds: str,
    tmp_path: Path,
) -> None:
    data = shutil.copytree(thirds.removeprefix("idx:"), tmp_path / "data")
    (path,) = data.glob("t10k-images*")
    content = path.read_bytes()
    image = 12 * 12
    path.write_bytes(content[: -3 * image] + content[-6 * image : -3 * image])  # of the same labels
    copied = dataclasses.replace(
        config,
        dataset=f"idx:{data}",
        data_gate=DataGateConfig(max_test_duplicates=bound),
    )
    result = check_model(copied, Asked(models["good"]))
    assert failed(result) == wrong
    assert find(result, "data.duplicates").sentence.startswith("test: 3 of 60 images only repeat")


def test_a_serving_directory_that_is_none_is_refused(
    config: RunConfig, models: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    blocked = dataclasses.replace(config, serving_dir=str(tmp_path / "file"))
    with pytest.raises(Refusal, match=r"serving_dir needs the directory .*/file' is none"):
        check_model(blocked, Asked(models["good"]))
