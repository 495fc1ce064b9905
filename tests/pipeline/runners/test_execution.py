"""Real runs of the whole pipeline on a very small data set, through the local runner.

The tests share one pipeline root, and what they do not change is taken from its cache. What a test
does to the models in that cache is undone after it.
"""

import contextlib
import dataclasses
import errno
import json
import os
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tfx.orchestration import metadata
from tfx.orchestration.portable import launcher

from components import serving_dir
from components.data_gate.bounds import DataGateConfig
from components.evaluation import eval_config
from components.evaluation.mistakes import KEPT
from components.example_gen import image_example_gen
from components.example_gen.data_error import DataError
from components.gate.policy import GateConfig, Policy
from components.pictures import WRONG
from components.serving_check import tensorflow_loader
from components.serving_dir import LOG_NAME
from pipeline import result
from pipeline.cli.summary import summary
from pipeline.config import RunConfig, ServingConfig
from pipeline.dataset_defaults import policy_for
from pipeline.executions import executions_of
from pipeline.report import render
from pipeline.runners import artifact_digests, local
from tests.components.serving_check import stand_in
from tests.pipeline.runners.watch import Looking, Watch, children_running
from tests.pipeline.thirds import ANY_MODEL as ANY
from tests.pipeline.thirds import short_run
from trainer.host import termination

pytestmark = pytest.mark.slow

COMPONENTS = {
    *("ExampleGen", "CuratedSchema", "StatisticsGen", "ExampleValidator", "BaselineModel"),
    *("DataGate", "Transform", "Trainer", "Evaluator", "ReleaseGate", "ServingCheck", "Pusher"),
}
ANY_MODEL = dataclasses.replace(ANY, confidence=0.999999)
# With 60 of 60 test images it is just shown to reach it; two are equal but for their labels.
PERFECT_MODEL = dataclasses.replace(ANY_MODEL, floor=0.763)


def _policy(config: GateConfig) -> Policy:
    return policy_for(config, "", num_classes=3, test_rows=1000)


@dataclasses.dataclass(frozen=True)
class Run:
    """A run that has ended, and what its watcher saw."""

    result: result.RunResult
    watch: Looking


def run(config: RunConfig, run_id: str, **changes) -> Run:
    watch = Looking(tensorflow_loader.__name__)
    outcome = local.run(dataclasses.replace(config, **changes), run_id=run_id, observer=watch)
    return Run(outcome, watch)


@pytest.fixture(scope="module")
def config(thirds: str, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return short_run(thirds, tmp_path_factory.mktemp("execution") / "root", gate=ANY_MODEL)


@pytest.fixture(scope="module")
def first(config: RunConfig) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        # TFX would take `-v` for its own, which wants a value.
        patch.setattr(sys, "argv", ["tfx-mnist", "run", "-v"])
        return run(config, "run-1")


@pytest.fixture
def versions(config: RunConfig, first: Run):
    """Says which versions are served."""
    served = Path(config.pipeline_root) / "serving" / first.result.dataset["name"]
    return lambda: [version.number for version in serving_dir.versions(served)]


def failed_checks(run: Run) -> list[str]:
    return [check.name for check in run.result.checks if not check.passed]


def test_the_first_run_releases_version_1(config: RunConfig, first: Run) -> None:
    path = Path(config.pipeline_root) / "serving" / first.result.dataset["name"] / "1"
    assert (first.result.outcome, first.result.error) == (result.RELEASED, None)
    assert first.result.release == result.Release(version=1, path=str(path))
    assert first.result.cached == ()
    (version,) = serving_dir.versions(path.parent, check_files=True)
    assert version.problems == ()
    assert version.manifest.release["run_id"] == "run-1"


def test_what_serves_the_model_starts_once_it_is_trained_and_ends_with_the_run(first: Run) -> None:
    children = first.watch.children
    (started,) = children["Evaluator"]
    assert (children["Trainer"], children["ServingCheck"]) == ([], [started])
    assert children["Pusher"] == children_running(tensorflow_loader.__name__) == []


def test_the_result_says_what_was_read_and_measured(first: Run) -> None:
    rows = {name: split["rows"] for name, split in first.result.dataset["splits"].items()}
    assert first.result.dataset["name"].startswith("idx_thirds_")
    assert rows == {"train": 168, "eval": 24, "test": 60}  # 192 // 8 = 24 of the training images
    evidence = first.result.evidence
    assert evidence.overall.rows == 60
    assert [tally.rows for tally in evidence.classes.values()] == [20, 20, 20]
    assert evidence.overall.correct <= 59
    assert sum(map(sum, evidence.confusion)) == 60
    assert (first.result.policy, first.result.baseline) == (_policy(ANY_MODEL), None)


def test_the_result_holds_what_people_look_at(config: RunConfig, first: Run) -> None:
    seen = first.result
    assert [epoch["number"] for epoch in seen.history] == [1]
    folder = Path(config.pipeline_root) / "artifacts" / seen.dataset["name"] / "Trainer/model_run"
    assert seen.tensorboard == str(folder)
    assert list(folder.glob("*/events.out.tfevents.*"))
    assert seen.mistakes.examined == 60
    shown = min(seen.evidence.overall.errors, KEPT)
    assert len(seen.mistakes.groups[WRONG]) == pytest.approx(shown, abs=1)  # two images are equal
    assert sum(each.rows for each in seen.mistakes.bins) == 60
    assert seen.suspects.examined == 168 + 24
    assert "Learning curves" in render(seen)


def test_ml_metadata_tells_which_executions_made_the_release(config: RunConfig, first: Run) -> None:
    found = {each.component: each for each in executions_of(config.metadata_path, "run-1")}
    assert found.keys() == COMPONENTS
    assert {each.state for each in found.values()} == {"complete"}
    without = {name for name, each in found.items() if each.code is None}
    assert without == {"StatisticsGen", "ExampleValidator"}
    assert {each.output for each in found["Trainer"].outputs} == {"model", "model_run"}
    outputs = [each for one in found.values() for each in one.outputs]
    assert [each.output for each in outputs if not each.sha256] == ["pushed_model"]  # an empty one


def test_the_checks_are_the_data_gates_the_release_gates_and_the_serving_checks(first: Run) -> None:
    names = [check.name for check in first.result.checks]
    gates = [name for name in names if not name.startswith("serving.")]
    assert names[: len(gates)] == gates
    assert "serving.agreement" in names
    release = [
        *("integrity.rows", "integrity.digest", "integrity.model", "integrity.withdrawn"),
        *("integrity.classes", "integrity.finite", "test_budget", "floor", "cross_entropy"),
        *("baseline", "class.0", "class.1", "class.2"),
    ]
    data = gates[: -len(release)]
    assert gates[-len(release) :] == release
    assert all(name.startswith("data.") for name in data)
    assert {"data.overlap", "data.drift"} <= set(data)
    assert failed_checks(first) == []


def test_the_observer_is_told_of_every_component_in_order(first: Run) -> None:
    watch = first.watch
    assert set(watch.names) == COMPONENTS
    assert watch.started == watch.names == list(watch.finished) == list(first.result.seconds)
    assert not any(watch.finished.values())


def test_a_second_identical_run_executes_nothing_and_publishes_nothing(config, first, versions):
    second = run(config, "run-2")
    assert (second.result.outcome, second.result.error) == (result.UNCHANGED, None)
    assert set(second.result.cached) == COMPONENTS
    assert all(second.watch.finished.values())
    assert second.result.release == first.result.release
    assert second.result.evidence == first.result.evidence
    assert second.result.checks == first.result.checks
    assert versions() == [1]


@pytest.mark.once  # the server is a script
def test_a_check_that_cannot_be_made_fails_the_run_and_is_made_by_the_same_command(
    config, first, tmp_path
):
    server = tmp_path / "tensorflow_model_server"
    server.write_text("#!/bin/sh\nkill -KILL $$\n")
    server.chmod(0o755)
    served = tmp_path / "serving"
    changes = {
        "serving": ServingConfig(model_server=str(server), max_p99_latency_ms=5_000.0),
        "serving_dir": str(served),
    }
    unmade = run(config, "run-unmade", **changes)
    assert unmade.result.outcome == result.FAILED
    assert unmade.result.error.startswith("ServingCheck: the model could not be served, which says")
    assert "the server ended with SIGKILL" in unmade.result.error
    assert failed_checks(unmade) == []
    assert serving_dir.versions(served) == []

    server.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{stand_in.__file__}" "$@"\n')
    made = run(config, "run-made", **changes)
    assert (made.result.outcome, made.result.error) == (result.RELEASED, None)
    assert COMPONENTS - set(made.result.cached) == {"ServingCheck", "Pusher"}
    assert len((served / LOG_NAME).read_text().splitlines()) == 1  # one decision, of both runs


@pytest.mark.once  # an altered one is made again on both
def test_a_lost_intermediate_result_is_made_again_and_nothing_is_released(config, first, versions):
    folder = Path(config.pipeline_root) / "artifacts" / first.result.dataset["name"]
    shutil.rmtree(folder / "StatisticsGen")
    again = run(config, "run-3")
    assert "StatisticsGen" not in again.result.cached
    # Pusher is given the data gate's new answer as well, and finds the model published already.
    assert {"Trainer", "Evaluator", "ReleaseGate"} <= set(again.result.cached)
    assert again.result.outcome == result.UNCHANGED
    assert versions() == [1]


@pytest.mark.once  # as an altered one
def test_what_a_killed_run_left_unrecorded_is_made_again(config, first, tmp_path, monkeypatch):
    def end(store, written, find):
        raise KeyboardInterrupt  # that nobody turned into an orderly end

    other = {"gate": dataclasses.replace(ANY_MODEL, max_drop=0.8)}
    with monkeypatch.context() as patch:
        patch.setattr(artifact_digests, "record", end)
        with pytest.raises(KeyboardInterrupt):
            run(config, f"{tmp_path.name}-killed", **other)
    again = run(config, f"{tmp_path.name}-run", **other)
    assert again.result.error is None
    (note,) = again.watch.notes
    assert note.endswith(" was altered, or never recorded: making it again")
    assert note.removeprefix("the result of ").split()[0] not in again.result.cached


def test_a_model_below_the_floor_is_refused_and_not_published(config, first, versions):
    refused = run(config, "run-4", gate=PERFECT_MODEL)
    assert (refused.result.outcome, refused.result.error) == (result.REFUSED, None)
    assert failed_checks(refused) == ["floor"]
    assert refused.result.release is None
    assert "Trainer" in refused.result.cached
    assert versions() == [1]


def test_a_damaged_served_model_is_refused_before_anything_runs(config, first, tmp_path):
    (tmp_path / "serving" / "3").mkdir(parents=True)
    refused = run(config, "run-12", serving_dir=str(tmp_path / "serving"))
    assert refused.result.outcome == result.REFUSED
    assert failed_checks(refused) == ["baseline"]
    assert "3: has no manifest.json" in refused.result.checks[0].sentence
    assert refused.watch.started == []


@pytest.mark.once  # what a release does with its directory
def test_a_damaged_served_model_can_be_overridden_and_that_is_recorded(config, first, tmp_path):
    (tmp_path / "serving" / "3").mkdir(parents=True)
    gate = dataclasses.replace(ANY_MODEL, allow_missing_baseline=True)
    changes = {"serving_dir": str(tmp_path / "serving"), "gate": gate}
    released = run(config, "run-13", reason="version 3 is lost", **changes)
    assert (released.result.outcome, released.result.release.version) == (result.RELEASED, 4)
    (version,) = serving_dir.versions(tmp_path / "serving")[1:]
    recorded = [
        check for check in version.manifest.release["checks"] if check["name"] == "baseline"
    ]
    assert "overridden by gate.allow_missing_baseline" in recorded[0]["sentence"]
    assert version.manifest.release["overrides"] == {
        "keys": ["gate.allow_missing_baseline"],
        "reason": "version 3 is lost",
    }
    assert "overrides gate.allow_missing_baseline: version 3 is lost" in summary_text(released)


@pytest.mark.once
def test_a_held_model_is_released_by_its_approval_alone(
    config: RunConfig, first: Run, tmp_path: Path
) -> None:
    served = tmp_path / "serving"
    held = run(config, "run-h1", serving_dir=str(served), hold=True)
    assert (held.result.outcome, held.result.exit_code, held.result.release) == (
        result.HELD,
        0,
        None,
    )
    assert held.result.pending == result.Waiting("run-h1", str(served / ".pending-run-h1"))
    assert held.result.to_dict()["gate"]["decision"] == "passed"
    assert summary_text(held).count("release it: tfx-mnist approve run-h1 --serving-dir ") == 1
    assert "with --config FILE if this run has keys or hooks" in summary_text(held)
    again = run(config, "run-h2", serving_dir=str(served), hold=True)
    assert again.result.pending.run_id == "run-h1"
    assert (served / LOG_NAME).read_text().count("\n") == 1  # the decision was not made again
    assert serving_dir.versions(served) == []

    serving_dir.approve(served, "run-h1", by="Ann", reason="looked at the errors")
    (version,) = serving_dir.versions(served, check_files=True)
    assert (version.problems, version.manifest.release["run_id"]) == ((), "run-h1")
    for run_id, hold in (("run-h3", True), ("run-h4", False)):
        after = run(config, run_id, serving_dir=str(served), hold=hold)
        assert (after.result.outcome, after.result.release.version) == (result.UNCHANGED, 1)
    assert (served / LOG_NAME).read_text().count("\n") == 1


@pytest.mark.once
def test_a_rejected_model_is_refused_whoever_releases_it(
    config: RunConfig, first: Run, tmp_path: Path
) -> None:
    served = tmp_path / "serving"
    run(config, "run-r1", serving_dir=str(served), hold=True)
    serving_dir.reject(served, "run-r1", by="Ann", reason="confuses 4 and 9")
    refused = run(config, "run-r2", serving_dir=str(served))
    assert refused.result.outcome == result.REFUSED
    (check,) = (check for check in refused.result.checks if not check.passed)
    assert check.name == "integrity.current"  # since the decision, which is in the cache
    assert "confuses 4 and 9" in check.sentence
    assert serving_dir.versions(served) == []


def summary_text(of: Run) -> str:
    return "\n".join(map(str, summary(of.result)))


class Rival(Watch):
    """Changes the serving directory in the moment before a component runs."""

    def __init__(self, component: str, change: Callable[[], object]) -> None:
        super().__init__()
        self._component, self._change = component, change

    def component_started(self, name: str) -> None:
        super().component_started(name)
        if name == self._component:
            self._change()


def test_inputs_that_tfx_does_not_find_fail_the_component_that_misses_them(thirds, tmp_path):
    config = short_run(thirds, tmp_path / "root")

    def forget() -> None:
        with contextlib.closing(sqlite3.connect(config.metadata_path)) as database:
            database.execute("DELETE FROM Artifact")
            database.commit()

    failed = local.run(config, run_id="run", observer=Rival("StatisticsGen", forget))
    assert (failed.outcome, failed.exit_code) == (result.FAILED, 1)
    assert failed.error.startswith("StatisticsGen: TFX did not find its inputs in metadata.sqlite")


def test_what_lies_where_a_component_writes_is_removed_first(thirds, first, tmp_path) -> None:
    # As after metadata.sqlite was moved away: the numbers of executions begin with 1 again.
    of_set = tmp_path / "root" / "artifacts" / first.result.dataset["name"]
    left = ("BaselineModel/model/1/old", "ExampleGen/examples/3/Split-train/data-9-of-9.gz")
    for path in (of_set / name for name in left):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"old")

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        local.run(
            short_run(thirds, tmp_path / "root"),
            run_id="run",
            observer=Rival("StatisticsGen", stop),
        )
    assert not any((of_set / name).exists() for name in left)
    assert list((of_set / "ExampleGen/examples/3/Split-train").glob("*.gz"))


def test_a_run_finds_its_inputs_where_the_clock_was_set_back(config: RunConfig, first: Run) -> None:
    # ML Metadata lists a pipeline's executions by the hundred, the last by the clock first, and
    # then only those of lower numbers.
    with contextlib.closing(sqlite3.connect(config.metadata_path)) as database:
        (pipeline,) = database.execute(
            "SELECT Context.id FROM Context JOIN Type ON Type.id = type_id "
            "WHERE Type.name = 'pipeline'"
        ).fetchone()
        tomorrow = "create_time_since_epoch + 86400000"
        for _ in range(100):
            made = database.execute(
                "INSERT INTO Execution (type_id, create_time_since_epoch) "
                f"SELECT type_id, {tomorrow} FROM Execution WHERE id = 1"
            )
            database.execute(
                "INSERT INTO Association (context_id, execution_id) VALUES (?, ?)",
                (pipeline, made.lastrowid),
            )
        database.commit()
    again = run(config, "run-set-back").result
    assert (again.outcome, again.error) == (result.UNCHANGED, None)


@pytest.mark.once
def test_a_decision_that_another_release_overtook_is_refused_and_made_again_by_the_next_run(
    config, first, tmp_path
):
    served = tmp_path / "serving"
    (released,) = serving_dir.versions(Path(first.result.release.path).parent)

    def publish_another() -> None:
        rival = tmp_path / "rival"
        shutil.copytree(released.path, rival, ignore=shutil.ignore_patterns("manifest.json"))
        (rival / "of").write_text("another run")
        serving_dir.publish(rival, served, {"dataset": released.manifest.release["dataset"]})

    theirs = dataclasses.replace(config, serving_dir=str(served))
    overtaken = local.run(
        theirs, run_id=f"{tmp_path.name}-a", observer=Rival("Pusher", publish_another)
    )

    assert (overtaken.exit_code, overtaken.error) == (3, None)
    assert [check.name for check in overtaken.checks if not check.passed] == ["integrity.current"]
    assert {"data.overlap", "floor", "serving.load"} < {check.name for check in overtaken.checks}
    (line,) = [line for line in map(str, summary(overtaken)) if line.startswith("  failed: ")]
    assert "compared with no version, but since then" in line
    assert "would be compared with version 1" in line
    assert [version.number for version in serving_dir.versions(served)] == [1]
    # That refusal is not in the cache.
    again = run(theirs, f"{tmp_path.name}-b")
    assert (again.result.outcome, again.result.release.version) == (result.RELEASED, 2)
    assert again.result.baseline["version"] == 1
    assert "Trainer" in again.result.cached


def test_the_terminal_the_manifest_and_ml_metadata_have_one_list_of_checks(config, first):
    listed = [check.to_dict() for check in first.result.checks]
    (version,) = serving_dir.versions(Path(first.result.release.path).parent)
    assert version.manifest.release["checks"] == listed
    connection = metadata.sqlite_metadata_connection_config(str(config.metadata_path))
    with metadata.Metadata(connection) as handle:
        stored = [
            json.loads(artifact.custom_properties["checks"].string_value)
            for artifact in handle.store.get_artifacts()
            if "checks" in artifact.custom_properties
        ]
    data, release, serving = stored[:3]
    assert data + release + serving == listed


def test_an_evaluation_by_another_floor_fails_and_releases_nothing(
    config, first, versions, monkeypatch
):
    real = eval_config.eval_config
    strict = _policy(dataclasses.replace(ANY_MODEL, floor=1.0))
    monkeypatch.setattr(eval_config, "eval_config", lambda _, **given: real(strict, **given))
    contradicted = dataclasses.replace(ANY_MODEL, max_drop=0.9)
    failed = run(config, "run-6", gate=contradicted)
    assert failed.result.outcome == result.FAILED
    assert failed.result.error.startswith("ReleaseGate: the Evaluator did not bless the model, but")
    assert "nothing is released on a contradiction" in failed.result.error
    assert failed.result.release is None
    assert failed.watch.started[-1] == "ReleaseGate"
    assert "ReleaseGate" not in failed.result.cached
    assert versions() == [1]
    # What was finished before is not done again, and the failure is not taken from the cache.
    again = run(config, "run-7", gate=contradicted)
    assert again.result.error == failed.result.error
    assert "Evaluator" in again.result.cached


def test_refused_data_trains_nothing(config, first, versions):
    bounds = DataGateConfig(max_train_test_overlap=0.0)
    refused = run(config, "run-8", data_gate=bounds)
    assert (refused.result.outcome, refused.result.error) == (result.REFUSED, None)
    assert failed_checks(refused) == ["data.overlap"]
    assert refused.result.evidence is None
    assert refused.result.suspects.examined == 168 + 24
    assert refused.watch.started[-1] == "DataGate"
    assert "DataGate" not in refused.watch.finished
    assert versions() == [1]


def test_data_that_turns_out_bad_while_it_is_read_is_a_users_error(
    config, first, tmp_path, monkeypatch
):
    # IDX files are checked before the run begins; sets of tensorflow-datasets only here.
    def refuse(path: str) -> None:
        raise DataError("no image of class 2")

    monkeypatch.setattr(image_example_gen, "finish", refuse)
    root = tmp_path / "root"
    failed = run(config, "run-11", pipeline_root=str(root))
    assert (failed.result.outcome, failed.result.bad_data) == (result.FAILED, True)
    assert failed.result.error == "ExampleGen: no image of class 2"
    assert not list(root.glob("artifacts/*/ExampleGen/**/*.gz"))


def test_an_error_of_the_machine_is_told_with_its_remedy(config, first, monkeypatch):
    denied = f"{os.path.abspath(config.pipeline_root)}/artifacts/x"
    for error, remedy in (
        (MemoryError("Unable to allocate 64.0 TiB"), "and give the same command again"),
        (
            PermissionError(errno.EACCES, os.strerror(errno.EACCES), denied),
            "another --pipeline-root",
        ),
    ):

        def fail(self, error=error):
            raise error

        monkeypatch.setattr(launcher.Launcher, "launch", fail)
        failed = run(config, "run-14").result
        assert (failed.outcome, failed.exit_code) == (result.FAILED, 1)
        assert failed.error.endswith(remedy)


def test_a_pipeline_root_that_is_removed_meanwhile_is_said(thirds: str, tmp_path: Path) -> None:
    root = tmp_path / "root"

    class Removing(Watch):
        def component_started(self, name: str) -> None:
            if name == "ExampleGen":
                shutil.rmtree(root)

    removed = local.run(short_run(thirds, root), run_id="run-1", observer=Removing())
    assert removed.outcome == result.FAILED
    assert removed.error == (
        f"ExampleGen: the pipeline root {root} was removed during the run; the same command begins "
        "anew"
    )


def _terminated_in(
    component: str, config: RunConfig, run_id: str, monkeypatch, *, ended: bool
) -> tuple[result.RunResult, Watch]:
    """A run that gets SIGTERM in a component, of which TFX makes an error or, if `ended`, nothing.

    Returns:
      Its result, and what its watcher saw.
    """
    real, watch, results = launcher.Launcher.launch, Watch(), []

    def launch(self):
        if self._pipeline_node.node_info.id != component:
            return real(self)
        info = real(self) if ended else None
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        except BaseException:
            if info is None:
                raise ValueError("a bare except took the signal for something else") from None
        return info

    def go() -> None:
        with termination.terminable():
            results.append(local.run(config, run_id=run_id, observer=watch))

    with monkeypatch.context() as patch:
        patch.setattr(launcher.Launcher, "launch", launch)
        with pytest.raises(termination.Terminated):
            go()
    return results[0], watch


def test_a_signal_that_became_a_components_error_does_not_fail_the_run(
    config, first, tmp_path, monkeypatch, survives, caplog
):
    ended, watch = _terminated_in("Transform", config, tmp_path.name, monkeypatch, ended=False)
    assert (ended.error, ended.release) == (None, None)
    assert watch.started[-1] == "Transform"
    assert "Transform failed" not in caplog.text


@pytest.mark.once  # the signal above meets TFX's launcher on both
def test_a_release_that_was_made_before_the_signal_is_told_and_its_component_runs_again(
    config, first, tmp_path, monkeypatch, survives
):
    own = dataclasses.replace(config, serving_dir=str(tmp_path / "serving"))
    ended, _ = _terminated_in("Pusher", own, f"{tmp_path.name}-a", monkeypatch, ended=True)
    assert (ended.outcome, ended.error) == (result.RELEASED, None)
    assert ended.release == result.Release(1, str(tmp_path / "serving" / "1"))
    again = run(own, f"{tmp_path.name}-b")
    assert again.result.error is None
    assert (again.result.outcome, again.result.release) == (result.UNCHANGED, ended.release)
    # What a component makes of a swallowed signal is not recorded as its result.
    assert "Pusher" not in again.result.cached
    assert again.watch.notes[0].startswith("the result of Pusher in ")


@pytest.mark.once  # what follows the Pusher is ours on both
@pytest.mark.parametrize("hold", [False, True])
def test_an_error_after_the_pusher_names_what_stays_and_the_same_command_finds_it(
    config, first, tmp_path, monkeypatch, hold
):
    served, name = tmp_path / "serving", tmp_path.name
    held = served / f".pending-{name}-a"
    own = dataclasses.replace(config, serving_dir=str(served), hold=hold)
    record = artifact_digests.record

    def record_until_the_disk_is_full(store, artifacts, find):
        if any("pushed_model" in artifact.uri for artifact in artifacts):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        record(store, artifacts, find)

    with monkeypatch.context() as patch:
        patch.setattr(artifact_digests, "record", record_until_the_disk_is_full)
        broken = run(own, f"{name}-a").result
    release = None if hold else result.Release(1, str(served / "1"))
    pending = result.Waiting(f"{name}-a", str(held)) if hold else None
    assert (broken.release, broken.pending) == (release, pending)
    assert broken.outcome == (result.HELD if hold else result.RELEASED)
    assert broken.exit_code == result.ExitCode.FAILED
    was = f"the model was held in {held}" if hold else f"version 1 was released in {served}/1"
    assert broken.error.startswith(f"after {was}: Pusher: no space left on device: free some ")
    again = run(own, f"{name}-b").result
    assert (again.release, again.pending, again.error) == (release, pending, None)
    assert again.outcome == (result.HELD if hold else result.UNCHANGED)


@pytest.fixture
def undone(config: RunConfig, first: Run, tmp_path: Path) -> Iterator[None]:
    """Gives the root back as it was before the test."""
    root, kept = Path(config.pipeline_root), tmp_path / "kept"
    shutil.copytree(root, kept, symlinks=True)
    yield
    shutil.rmtree(root)
    shutil.copytree(kept, root, symlinks=True)


@pytest.fixture
def other_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each training gives another model, as it may where threads add in another order."""
    record = artifact_digests.record

    def record_another(store, artifacts, find):
        for artifact in artifacts:
            if "/Trainer/model/" in artifact.uri:
                (find(artifact.uri) / "Format-Serving" / "other").write_text(artifact.uri)
        record(store, artifacts, find)

    monkeypatch.setattr(artifact_digests, "record", record_another)


def test_an_altered_model_is_made_again_and_compared_with_the_release_of_the_old_one(
    config: RunConfig, first: Run, undone: None, other_models: None
) -> None:
    pattern = "artifacts/*/Trainer/model/*/Format-Serving/variables/variables.data-*"
    (path,) = Path(config.pipeline_root).glob(pattern)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    again = run(config, "run-altered", hold=True)
    assert "Trainer" not in again.result.cached
    damaged, compared = again.watch.notes
    assert damaged.startswith(f"the result of Trainer in {config.pipeline_root}/artifacts/")
    assert damaged.endswith(" was altered, or never recorded: making it again")
    assert compared == "The model is not the released one: comparing it with that one"
    assert set(again.result.seconds) == COMPONENTS
    names = [check.name for check in again.result.checks]
    assert len(names) == len(set(names))  # not those of the beginnings before
    assert "not_worse" in names
    assert "baseline" not in names  # "there is no baseline to compare with"
    assert again.result.outcome == result.HELD
    assert again.result.baseline["version"] == 1
    path.write_bytes(content)
    # A later run takes it from the cache, though it was not released.
    found = run(config, "run-cached")
    assert "Trainer" in found.result.cached
    assert (found.result.outcome, found.result.release.version) == (result.RELEASED, 2)
    assert found.result.baseline["version"] == 1
    newest = serving_dir.newest_valid(Path(found.result.release.path).parent)
    assert newest.manifest.release["baseline"] == found.result.baseline


class _Altering(Watch):
    """Adds a file to the newest model when the release gate starts for the first time."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root

    def component_started(self, name: str) -> None:
        if name == "ReleaseGate" and name not in self.started:
            models = self._root.glob("artifacts/*/Trainer/model/*/Format-Serving")
            newest = max(models, key=lambda path: int(path.parent.name))
            (newest / "nobody_judged_this").touch()
        super().component_started(name)


@pytest.mark.once
def test_a_model_that_is_altered_after_its_evaluation_is_not_released(
    config: RunConfig, first: Run, undone: None, other_models: None
) -> None:
    watch = _Altering(Path(config.pipeline_root))
    judged_anew = dataclasses.replace(config, gate=dataclasses.replace(ANY_MODEL, max_drop=0.7))
    done = local.run(judged_anew, run_id="run-altering", observer=watch)
    assert watch.notes[0] == "The model was altered while it was judged: beginning again"
    assert watch.started.count("Trainer") == 3  # the second time, its result is found altered
    assert done.outcome == result.RELEASED
    assert done.release.version == 2
    assert not (Path(done.release.path) / "nobody_judged_this").exists()


@pytest.mark.once  # a directory that we give to TFX as the first one
def test_artifacts_in_another_directory_lie_there_alone(config, first, tmp_path):
    place = tmp_path / "elsewhere"
    bounds = ServingConfig(max_p99_latency_ms=20_000.0)  # not those of `first`
    moved = run(config, f"{tmp_path.name}-run", artifacts=str(place), serving=bounds)
    assert moved.result.error is None
    assert "Trainer" in moved.result.cached
    assert "ServingCheck" not in moved.result.cached
    assert list(place.glob(f"*/{tmp_path.name}-run/ServingCheck/infra_blessing/*/checks.json"))
