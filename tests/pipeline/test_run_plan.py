"""What is looked up before the graph is drawn."""

import dataclasses
import errno
import multiprocessing.synchronize  # noqa: F401  (before its class is replaced)
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from components.data_gate.bounds import DataGateConfig
from components.gate.check import GateRefused
from components.gate.policy import GateConfig
from components.gate.slices import Bands, Values, parse
from components.serving_dir import LOCK_NAME, LOG_NAME, ServingDirError, digest_of, publish
from pipeline.code_keys import COMPONENTS
from pipeline.config import ConfigError, RunConfig, ServingConfig
from pipeline.dataset_defaults import UNKNOWN_SET
from pipeline.run_plan import RunPlan, make_plan
from tests.components.example_gen.idx_contents import idx_file
from tests.components.serving_dir.samples import letter_model, publish_letters
from tests.pipeline.thirds import LOW_FLOOR
from trainer.host.errors import Refusal
from trainer.hparams import HParams
from trainer.tuning.settings import TuningConfig

TRAINING = HParams(per_replica_batch=32)


@pytest.fixture(scope="module")
def config(thirds: str, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    root = tmp_path_factory.mktemp("plan") / "root"
    return RunConfig(dataset=thirds, pipeline_root=str(root), training=TRAINING, gate=LOW_FLOOR)


@pytest.fixture(scope="module")
def plan(config: RunConfig) -> RunPlan:
    return make_plan(config, run_id="run-1")


def test_a_machine_on_which_beam_cannot_make_its_locks_is_refused(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")  # a /dev/shm of others

    monkeypatch.setattr("_multiprocessing.SemLock", deny)
    with pytest.raises(ConfigError, match=r"^no lock of Beam can be made in /dev/shm \(Permission"):
        make_plan(config, run_id="run-1")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (("chief", None, None), "KERASTUNER_ORACLE_IP, KERASTUNER_ORACLE_PORT not set: set what"),
        (("chief", "", "8000"), "KERASTUNER_ORACLE_IP not set: set what"),
        (("chief", "10.0.0.1", "0"), "KERASTUNER_ORACLE_PORT is '0', expected a port, 1 to 65535"),
    ],
)
def test_a_chief_whose_workers_could_not_find_it_is_refused(
    config: RunConfig,
    monkeypatch: pytest.MonkeyPatch,
    variables: tuple[str | None, ...],
    said: str,
) -> None:
    for name, value in zip(("TUNER_ID", "ORACLE_IP", "ORACLE_PORT"), variables, strict=True):
        if value is not None:
            monkeypatch.setenv(f"KERASTUNER_{name}", value)
    make_plan(config, run_id="run-1")  # without a search they mean nothing
    with pytest.raises(ConfigError, match=f"^{said}"):
        make_plan(dataclasses.replace(config, tuning=TuningConfig(enabled=True)), run_id="run-1")


def test_it_holds_what_the_source_says_of_itself(plan: RunPlan) -> None:
    assert re.fullmatch("idx_thirds_[0-9a-f]{8}", plan.dataset.name)
    assert plan.dataset.image_shape == (12, 12, 1)
    assert plan.dataset.class_names == ("0", "1", "2")


def test_all_directories_are_absolute_and_below_the_root_by_default(
    config: RunConfig, plan: RunPlan
) -> None:
    root = Path(config.pipeline_root)
    assert root.is_absolute()
    assert plan.root == root
    assert Path(plan.serving_dir) == root / "serving" / plan.dataset.name


def test_relative_directories_become_absolute(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    relative = dataclasses.replace(config, pipeline_root="root", serving_dir="served")
    plan = make_plan(relative, run_id="run-1")
    assert Path(plan.serving_dir) == tmp_path / "served"
    assert plan.root == tmp_path / "root"


def test_a_beam_runner_that_computes_wrong_results_needs_a_word(config: RunConfig) -> None:
    asked = dataclasses.replace(config, beam_args=("--runner=DaskRunner",))
    with pytest.raises(ConfigError, match=r"'DaskRunner' .*allow_unproven_runner=true"):
        make_plan(asked, run_id="run-1")
    allowed = dataclasses.replace(asked, allow_unproven_runner=True)
    assert make_plan(allowed, run_id="run-1").dataset.name


def test_an_argument_that_beam_cannot_read_is_refused_before(config: RunConfig) -> None:
    asked = dataclasses.replace(config, beam_args=("--direct_num_workers=two",))
    with pytest.raises(ConfigError, match=r"cannot be read \(argument --direct_num_workers"):
        make_plan(asked, run_id="run-1")


# --- what does not fit the data set --------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        # 192 images, of which 192 // 8 = 24 become eval
        ({"training": HParams(per_replica_batch=169)}, "global batch is 169, expected at most 168"),
        ({"training": TRAINING, "replicas": 6}, "global batch is 192, expected at most 168"),
        ({"training": HParams(per_replica_batch=1)}, "global batch is 1, expected 2 or more"),
        (
            {"training": dataclasses.replace(TRAINING, max_shift=12)},
            "training.max_shift is 12 and idx_thirds_.* of 12x12 pixels, expected at most 11",
        ),
        (
            {"training": dataclasses.replace(TRAINING, jit_compile=True), "replicas": 2},
            "training.jit_compile is true with 2 replicas, expected one: XLA",
        ),
        (
            {"data_gate": DataGateConfig(min_mean_intensity=0.5, max_mean_intensity=0.25)},
            "data_gate.min_mean_intensity is 0.5, expected less than .* which is 0.25",
        ),
        # 0.9140 ** 60 is alpha_1; of 106 images without an error the floor 0.95 is shown.
        (
            {"gate": GateConfig()},
            "^idx_thirds_.* has 60 test images, expected at least 106: on fewer no model is shown "
            "to reach gate.floor, which is 0.95; add test images, or set gate.floor lower$",
        ),
        ({"gate": GateConfig(floor=0.9141)}, "has 60 test images, expected at least 61: "),
        ({"gate": GateConfig(floor=0.9999999)}, "reach gate.floor, which is 0.9999999; add"),
        ({"gate": GateConfig(floor=1.0)}, "^gate.floor is 1, which no number of test images shows"),
        ({"serving": ServingConfig(model_server="gone")}, "serving.model_server is 'gone', exp"),
        (
            {"gate": GateConfig(slices=(Bands("weight", (1.0,)),))},
            r"^gate\.slices names the feature 'weight', expected one number in each example; the "
            "examples have channels, height, label, mean_intensity, width$",
        ),
        (
            {"gate": GateConfig(slices=(Values("mean_intensity", ("a",)),))},
            "'mean_intensity', which has fractions, expected one text or whole number in each "
            "example; the examples have channels, height, label, width$",
        ),
        # against the set's own bound
        ({"data_gate": DataGateConfig(min_mean_intensity=1.0)}, "is 1, expected less than"),
    ],
)
def test_what_does_not_fit_the_data_is_refused(
    config: RunConfig, change: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        make_plan(dataclasses.replace(config, **change), run_id="run-1")


def test_a_slice_by_a_value_that_no_test_image_has_is_refused(config: RunConfig) -> None:
    features = {"camera": "str", "site": "str", "weight": "float32", "age": "int64"}
    known = {"camera": {"front", "rear"}, "site": {str(one) for one in range(31)} - {"9"}}
    for text, said in (
        ("camera=front,raer", "'camera=raer', which no test image has, expected 'front', 'rear'"),
        ("site=9", "'site=9', which no test image has, expected '0', '1', '10', "),
        ("site=9", ", '26' or one of 10 more"),
    ):
        sliced = dataclasses.replace(config, gate=GateConfig(slices=(parse(text),)))
        with pytest.raises(ConfigError, match=re.escape(said)):
            sliced.require_slices(features, known)
    sliced = dataclasses.replace(config, gate=GateConfig(slices=(parse("site:9"),)))
    said = "'site', which is text (one value such as 007 or unknown makes a whole CSV column text)"
    with pytest.raises(ConfigError, match=re.escape(f"{said}, expected one number in each")):
        sliced.require_slices(features, known)
    for text in ("camera=rear", "weight:1", "age=9"):
        sliced = dataclasses.replace(config, gate=GateConfig(slices=(parse(text),)))
        sliced.require_slices(features, known)


def test_a_serving_directory_to_which_nothing_could_be_released_is_refused(
    config: RunConfig, tmp_path: Path
) -> None:
    for name in ("file", "locked", "logged", "ok"):
        (tmp_path / name).mkdir()
    (tmp_path / "file" / "a").touch()
    (tmp_path / "locked" / LOCK_NAME).mkdir()
    (tmp_path / "logged" / LOG_NAME).write_text("no JSON\n")
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    for served, error, sentence in (
        ("dangling", Refusal, "serving_dir needs the directory '.*', but '.*dangling' is none"),
        ("a[b]", Refusal, r"serving_dir is '.*a\[b\]', expected a path without '\['"),
        ("logged", ServingDirError, r"line 1 of .*logged/.decisions.jsonl is damaged"),
        ("locked", Refusal, "serving_dir needs the file .*, but something else is in its"),
    ):
        changed = dataclasses.replace(config, serving_dir=str(tmp_path / served))
        with pytest.raises(error, match=sentence):
            make_plan(changed, run_id="run-1")
    make_plan(dataclasses.replace(config, serving_dir=str(tmp_path / "ok")), run_id="run-1")
    assert not list((tmp_path / "ok").iterdir())


def test_the_largest_batch_shift_and_floor_that_fit_are_taken(config: RunConfig) -> None:
    training = HParams(per_replica_batch=168, max_shift=11)
    gate = GateConfig(floor=0.9140)
    plan = make_plan(dataclasses.replace(config, training=training, gate=gate), run_id="run-1")
    assert (plan.config.training, plan.config.gate) == (training, gate)


def test_a_batch_of_one_image_is_enough_for_two_replicas_or_without_normalized_units(
    config: RunConfig,
) -> None:
    for architecture, replicas in (("convnet", 2), ("article", 1)):
        training = HParams(architecture=architecture, per_replica_batch=1)
        changed = dataclasses.replace(config, training=training, replicas=replicas)
        assert make_plan(changed, run_id="run-1").config.training == training


def test_images_that_the_networks_pool_away_are_refused(config: RunConfig, tmp_path: Path) -> None:
    for name, rows in (("train", 192), ("t10k", 60)):
        images = np.random.default_rng(rows).integers(0, 256, (rows, 7, 8), np.uint8)
        (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(idx_file(images))
        labels = f"{name}-labels-idx1-ubyte"
        shutil.copy(Path(config.dataset.removeprefix("idx:"), labels), tmp_path / labels)
    with pytest.raises(ConfigError, match="images of 7x8 pixels, expected 8x8 or larger"):
        make_plan(dataclasses.replace(config, dataset=f"idx:{tmp_path}"), run_id="run-1")


# --- the run key ---------------------------------------------------------------------------------


def test_another_run_of_the_same_has_the_same_key(config: RunConfig, plan: RunPlan) -> None:
    again = make_plan(config, run_id="run-2")
    assert again.run_key == plan.run_key


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"replicas": 1},
        {"training": dataclasses.replace(TRAINING, epochs=6)},
        {"gate": GateConfig(floor=0.5)},
        {"data_gate": DataGateConfig(max_class_drift=0.06)},
        {"serving": ServingConfig(max_memory_mib=1000.0)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_decides_the_result_changes_the_key(
    config: RunConfig, plan: RunPlan, change: dict[str, object]
) -> None:
    other = make_plan(dataclasses.replace(config, **change), run_id="run-1")
    assert other.run_key != plan.run_key


def test_what_does_not_decide_the_result_leaves_the_key(config: RunConfig, plan: RunPlan) -> None:
    other = dataclasses.replace(
        config,
        beam_args=("--direct_num_workers=2",),
        serving_dir="other",
        tuning=TuningConfig(max_trials=7),  # there is no search
        hold=True,
    )
    found = make_plan(other, run_id="run-1")
    assert found.run_key == plan.run_key
    assert (plan.hold, found.hold) == ("", "run-1")


def test_the_settings_of_a_search_that_is_made_change_the_key(config: RunConfig) -> None:
    one, other = (
        dataclasses.replace(config, tuning=TuningConfig(enabled=True, max_trials=trials))
        for trials in (7, 8)
    )
    assert make_plan(one, run_id="run-1").run_key != make_plan(other, run_id="run-1").run_key


def test_thresholds_that_say_what_is_the_default_leave_the_key(
    config: RunConfig, plan: RunPlan
) -> None:
    spelt_out = dataclasses.replace(LOW_FLOOR, class_floor=UNKNOWN_SET.class_floor)
    other = dataclasses.replace(config, gate=spelt_out)
    assert make_plan(other, run_id="run-1").run_key == plan.run_key


@pytest.mark.parametrize(
    "change",
    [{"class_floor": 0.5}, {"mean_intensity": (0.1, 0.9)}],
    ids=lambda change: next(iter(change)),
)
def test_another_default_for_the_set_changes_the_key(
    config: RunConfig, plan: RunPlan, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    before = plan.run_key
    monkeypatch.setattr(
        "pipeline.dataset_defaults.UNKNOWN_SET", dataclasses.replace(UNKNOWN_SET, **change)
    )
    assert make_plan(config, run_id="run-1").run_key != before


def test_one_changed_pixel_changes_the_key(
    config: RunConfig, plan: RunPlan, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(config.dataset.removeprefix("idx:"), tmp_path / "thirds"))
    same = make_plan(dataclasses.replace(config, dataset=f"idx:{folder}"), run_id="run-1")
    file = folder / "train-images-idx3-ubyte"
    content = np.frombuffer(file.read_bytes(), np.uint8).copy()
    content[-1] ^= 1
    file.write_bytes(content.tobytes())
    other = make_plan(dataclasses.replace(config, dataset=f"idx:{folder}"), run_id="run-1")
    assert same.dataset.fingerprint == plan.dataset.fingerprint
    assert other.dataset.fingerprint != plan.dataset.fingerprint
    assert other.run_key != same.run_key


@pytest.mark.parametrize("component", COMPONENTS)
def test_changed_code_changes_the_run_key_where_it_makes_the_model(
    config: RunConfig, plan: RunPlan, monkeypatch: pytest.MonkeyPatch, component: str
) -> None:
    changed = {**plan.code, component: "changed"}
    monkeypatch.setattr("pipeline.run_plan.code_keys", lambda **_: changed)
    makes = component in {"ExampleGen", "CuratedSchema", "Transform", "Trainer"}
    assert (make_plan(config, run_id="run-1").run_key != plan.run_key) == makes


def test_another_version_of_a_library_runs_everything_again(
    config: RunConfig, plan: RunPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keras.__version__", "99.0")
    other = make_plan(config, run_id="run-1")
    assert other.run_key != plan.run_key
    assert not set(other.code.values()) & set(plan.code.values())


def test_another_server_or_an_update_of_it_is_asked_anew_and_nothing_else_runs(
    config: RunConfig, plan: RunPlan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = tmp_path / "tensorflow_model_server"
    server.write_text("first")
    server.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    first = make_plan(config, run_id="run-1")
    server.write_text("second")
    plans = [plan, first, make_plan(config, run_id="run-1")]
    assert len({one.code["ServingCheck"] for one in plans}) == 3
    assert len({str({**one.code, "ServingCheck": ""}) for one in plans}) == 1
    assert len({one.run_key for one in plans}) == 1
    assert make_plan(config, run_id="run-1").code == plans[-1].code


def test_the_searchs_code_makes_the_model_where_there_is_a_search(
    config: RunConfig, plan: RunPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    searching = dataclasses.replace(config, tuning=TuningConfig(enabled=True))
    before = make_plan(searching, run_id="run-1").run_key
    changed = {**plan.code, "Tuner": "changed"}
    monkeypatch.setattr("pipeline.run_plan.code_keys", lambda **_: changed)
    assert make_plan(searching, run_id="run-1").run_key != before


def test_a_release_is_not_looked_for_in_another_roots_metadata(
    config: RunConfig, plan: RunPlan, tmp_path: Path
) -> None:
    moved = dataclasses.replace(config, pipeline_root=str(tmp_path))
    assert make_plan(moved, run_id="run-1").run_key != plan.run_key


# --- the baseline --------------------------------------------------------------------------------


@pytest.fixture
def served(config: RunConfig, plan: RunPlan, tmp_path: Path) -> tuple[RunConfig, str]:
    """A configuration whose very result is served already, and the digest of that model."""
    model = letter_model(tmp_path, "a")
    release = {"run_key": plan.run_key, "release_token": "its run", "baseline": None}
    publish(model, tmp_path / "serving", release)
    Path(config.pipeline_root).mkdir(exist_ok=True)
    config.metadata_path.touch()
    return dataclasses.replace(config, serving_dir=str(tmp_path / "serving")), digest_of(model)


def test_with_nothing_served_there_is_no_baseline(plan: RunPlan) -> None:
    assert plan.context.baseline is None
    assert plan.context.token == "run-1"


def test_its_own_release_is_recognized_with_the_cache_and_the_metadata(
    served: tuple[RunConfig, str],
) -> None:
    config, _ = served
    context = make_plan(config, run_id="run-2").context
    assert (context.baseline, context.token) == (None, "its run")


def test_another_runs_release_is_the_baseline(served: tuple[RunConfig, str]) -> None:
    config, digest = served
    context = make_plan(dataclasses.replace(config, seed=1), run_id="run-2").context
    assert context.baseline is not None
    assert (context.baseline.version, context.baseline.model_digest) == (1, digest)
    assert context.token == "run-2"


@pytest.mark.parametrize("without", ["cache", "metadata"])
def test_its_own_release_is_else_a_baseline_like_any_other(
    without: str, served: tuple[RunConfig, str]
) -> None:
    config, digest = served
    if without == "metadata":
        config.metadata_path.unlink()
    given = dataclasses.replace(config, cache=without != "cache")
    context = make_plan(given, run_id="run-2").context
    assert context.baseline is not None
    assert context.baseline.model_digest == digest
    assert context.token == "run-2"


# --- a baseline that must be there ---------------------------------------------------------------


def test_a_required_baseline_that_is_not_there_is_refused_and_the_directory_is_named(
    config: RunConfig, tmp_path: Path
) -> None:
    publish_letters(tmp_path / "served", "a")
    gate = dataclasses.replace(LOW_FLOOR, require_baseline=True)
    wrong = dataclasses.replace(config, gate=gate, serving_dir=str(tmp_path / "wrong"))
    with pytest.raises(GateRefused) as refused:
        make_plan(wrong, run_id="run-1").require_baseline()
    (check,) = refused.value.checks
    assert f"no baseline to compare with: nothing is served in {tmp_path}/wrong" in check.sentence
    right = dataclasses.replace(wrong, serving_dir=str(tmp_path / "served"))
    make_plan(right, run_id="run-1").require_baseline()
    make_plan(dataclasses.replace(wrong, gate=LOW_FLOOR), run_id="run-1").require_baseline()


def test_a_damaged_version_is_refused_unless_that_is_allowed(
    config: RunConfig, tmp_path: Path
) -> None:
    publish_letters(tmp_path / "served", "a")
    (tmp_path / "served" / "1" / "saved_model.pb").unlink()
    strict = dataclasses.replace(config, serving_dir=str(tmp_path / "served"))
    with pytest.raises(GateRefused, match="version 1"):
        make_plan(strict, run_id="run-1").require_baseline()
    gate = dataclasses.replace(LOW_FLOOR, allow_missing_baseline=True)
    allowed = dataclasses.replace(strict, gate=gate, reason="it is withdrawn")
    make_plan(allowed, run_id="run-1").require_baseline()


# --- overrides -----------------------------------------------------------------------------------


def test_an_override_needs_a_reason_which_stands_in_the_release_record(config: RunConfig) -> None:
    gate = dataclasses.replace(LOW_FLOOR, allow_missing_baseline=True)
    overriding = dataclasses.replace(config, gate=gate)
    with pytest.raises(
        ConfigError, match=r"^gate.allow_missing_baseline would release what .* own"
    ):
        make_plan(overriding, run_id="run-1")
    with pytest.raises(ConfigError, match="say why with --reason TEXT"):
        make_plan(dataclasses.replace(overriding, reason=" "), run_id="run-1")
    plan = make_plan(dataclasses.replace(overriding, reason="it is lost"), run_id="run-1")
    assert plan.overrides == {"keys": ["gate.allow_missing_baseline"], "reason": "it is lost"}


def test_the_owner_of_another_set_makes_its_policy_without_a_reason(config: RunConfig) -> None:
    plan = make_plan(dataclasses.replace(config, gate=GateConfig(floor=0.1)), run_id="run-1")
    assert plan.overrides is None
