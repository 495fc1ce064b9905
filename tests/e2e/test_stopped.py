"""Whole runs that are stopped, with their artifacts on a disk and in a store: they go on, and come
to what an unbroken one comes to.
"""

import json
import signal
from pathlib import Path

import numpy as np
import pytest
from pyarrow import fs

from components import serving_dir
from pipeline import stores
from pipeline.cli.main import main
from pipeline.executions import executions_of
from tests.e2e.runs import PATIENT, SMALL, run_here, stop_when, tfx_mnist
from tests.pipeline.thirds import write_thirds
from tests.s3 import BUCKET, s3_server
from tests.trainer.trainings import assert_same, exported_weights, has_checkpoint

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

STORE = f"s3://{BUCKET}/tfx"


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Those of every run, with so many epochs that a signal after one of the first is in time."""
    dataset = write_thirds(tmp_path_factory.mktemp("data") / "thirds")
    chosen = ("--deterministic", "--seed", "7", "--set", "training.epochs=60")
    return ["--dataset", dataset, *SMALL, *chosen]


@pytest.fixture(scope="module")
def unbroken(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What a run comes to that nothing stops."""
    root = tmp_path_factory.mktemp("unbroken") / "root"
    assert main(["run", *PATIENT, "--pipeline-root", str(root), *words]) == 0
    return recorded(root)


def recorded(root: Path) -> dict:
    """What the only run of a root came to."""
    (record,) = (root / "reports").glob("*.json")
    return json.loads(record.read_text())


def released_weights(result: dict) -> dict[str, np.ndarray]:
    """Every variable of the released model."""
    return exported_weights(Path(result["release"]["path"]))


def released_digest(result: dict) -> str:
    version = serving_dir.newest_valid(Path(result["release"]["path"]).parent)
    return version.manifest.model_digest


def resumed_after(log: str) -> int:
    """The epoch after which a run's training went on; 0 where it began."""
    return int((log.partition("resumed after epoch ")[2].split() or ["0"])[0])


def test_a_training_that_was_stopped_goes_on_to_the_bits_of_an_unbroken_one(
    words, unbroken, tmp_path, capfd
):
    root = tmp_path / "stopped"

    def trained() -> bool:
        return has_checkpoint(root / "checkpoints", epoch=2)

    assert stop_when(trained, signal.SIGTERM, root, *words) == 143
    stopped = recorded(root)
    assert (stopped["cached"], "Trainer" in stopped["seconds"]) == ([], True)
    _, result = run_here(capfd, root, *words)
    assert result["outcome"] == "released"
    assert "ExampleGen" in result["cached"]
    assert "Trainer" not in result["cached"]
    logs = [path.read_text() for path in sorted((root / "logs").glob("*.log"))]
    terminated, ended = map(resumed_after, logs)
    assert terminated == 0
    assert ended >= 2
    assert_same(released_weights(result), released_weights(unbroken))
    assert released_digest(result) == released_digest(unbroken)
    assert result["metrics"] == unbroken["metrics"]
    assert not (root / "checkpoints").exists()


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory):
    """A pipeline root whose artifacts lie in a bucket."""
    with s3_server():
        yield tmp_path_factory.mktemp("stored") / "root"


def kill_when(root: Path, *arguments: str, there: str) -> None:
    """Kills a run as soon as the bucket holds an object whose name contains a text."""
    bucket = fs.FileSelector(BUCKET, recursive=True)
    store, _ = stores._opened(STORE)

    def holds_it() -> bool:
        return any(there in found.path for found in store.get_file_info(bucket))

    stop_when(holds_it, signal.SIGKILL, root, *arguments)


def decided(result: dict) -> list[tuple[bool, str]]:
    """Result and sentence of each check but those of ServingCheck, which measure."""
    checks = result["gate"]["checks"]
    shown = [check for check in checks if not check["name"].startswith("serving.")]
    return [(check["passed"], check["sentence"]) for check in shown]


def wrote(root: Path, result: dict) -> dict[str, str]:
    """URI by component and output."""
    return {
        f"{one.component}.{each.output}": each.uri
        for one in executions_of(root / "metadata.sqlite", result["run_id"])
        for each in one.outputs
    }


def test_a_run_with_its_artifacts_in_a_store_decides_as_one_on_a_disk_even_after_a_kill(
    words, unbroken, stored, tmp_path, capfd
):
    kill_when(stored, *words, "--artifacts", STORE, there="/Trainer/model/")
    code, result = run_here(capfd, stored, *words, "--artifacts", STORE)
    assert (code, result["outcome"], result["error"]) == (0, "released", None)
    assert {"ExampleGen", "Transform"} <= set(result["cached"])
    for key in ("dataset", "hparams", "metrics", "baseline"):
        assert result[key] == unbroken[key], key
    assert decided(result) == decided(unbroken)
    assert released_digest(result) == released_digest(unbroken)

    uris, name = wrote(stored, result), result["dataset"]["name"]
    assert all(uri.startswith(f"{STORE}/{name}/") for uri in uris.values())
    assert not (stored / "artifacts").exists()
    stores.download(f"{uris['Trainer.model']}/Format-Serving", tmp_path / "model")
    (version,) = serving_dir.versions(stored / "serving" / name, check_files=True)
    assert not version.problems
    assert version.manifest.model_digest == serving_dir.digest_of(tmp_path / "model")


def test_a_second_run_takes_all_from_the_store_and_what_was_altered_there_is_made_again(
    words, stored, capfd
):
    code, cached = run_here(capfd, stored, *words, "--artifacts", STORE)
    assert (code, cached["outcome"]) == (0, "unchanged")
    assert set(cached["cached"]) == set(cached["seconds"]) - {"total"}
    store, blessing = stores._opened(wrote(stored, cached)["ReleaseGate.blessing"])
    with store.open_output_stream(f"{blessing}/checks.json") as writer:
        writer.write(b"[]")
    code, result = run_here(capfd, stored, *words)
    assert (code, result["outcome"]) == (0, "unchanged")
    assert "Evaluator" in result["cached"]
    assert "ReleaseGate" not in result["cached"]
    assert wrote(stored, result)["ReleaseGate.blessing"].startswith(str(stored / "artifacts"))


def test_a_store_that_cannot_be_used_ends_a_run_before_it_begins(words, stored, capfd, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    code, result = run_here(capfd, stored, *words, "--artifacts", STORE)
    assert (code, result["outcome"], set(result["seconds"])) == (2, "failed", {"total"})
    assert result["error"].startswith(f"cannot use {STORE}: ")
    # What lies there is needed without the option as well.
    code, result = run_here(capfd, stored, *words)
    assert (code, result["outcome"]) == (1, "failed")
    assert f": cannot read {STORE}/" in result["error"]
    (served,) = (stored / "serving").iterdir()
    assert tfx_mnist(capfd, "verify", "--serving-dir", str(served))[0] == 0
