"""Whole runs of the product, as a user starts them: the first one in a process of its own."""

import json
import signal
from pathlib import Path

import pytest
from pyarrow import fs

from components import serving_dir
from pipeline import stores
from pipeline.executions import executions_of
from tests.e2e.idx_folders import (
    add_test_images,
    shuffle_labels,
    shuffle_some_labels,
    write_idx,
)
from tests.e2e.runs import run, run_here, stop_when, tfx_mnist
from tests.s3 import BUCKET, s3_server

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

STORE = f"s3://{BUCKET}/tfx"


def failed_checks(result: dict) -> list[str]:
    return [check["name"] for check in result["gate"]["checks"] if not check["passed"]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("e2e") / "root"


@pytest.fixture(scope="module")
def first(root: Path) -> tuple[int, dict]:
    return run(root)


def test_the_first_run_releases_version_1(root, first):
    code, result = first
    assert (code, result["outcome"], result["error"]) == (0, "released", None)
    rows = {name: split["rows"] for name, split in result["dataset"]["splits"].items()}
    assert rows == {"train": 3500, "eval": 500, "test": 1000}
    assert result["metrics"]["accuracy"] >= 0.97
    assert result["release"] == {
        "version": 1,
        "path": str(root / "serving" / "mnist_sample" / "1"),
    }
    (version,) = serving_dir.versions(Path(result["release"]["path"]).parent, check_files=True)
    assert not version.problems
    assert version.manifest.release["metrics"]["accuracy"] == result["metrics"]["accuracy"]
    assert version.manifest.release["dataset"]["splits"]["test"]["rows"] == 1000
    report = Path(result["report"])
    assert report.parent == root / "reports"
    assert "there is no baseline to compare with" in report.read_text()


def test_a_second_identical_run_executes_and_publishes_nothing(root, first, capfd):
    code, result = run_here(capfd, root)
    components = [name for name in result["seconds"] if name != "total"]
    assert (code, result["outcome"]) == (0, "unchanged")
    assert result["cached"] == components
    assert result["metrics"] == first[1]["metrics"]
    assert [v.number for v in serving_dir.versions(root / "serving" / "mnist_sample")] == [1]


def test_noisy_labels_are_refused_by_the_gate_against_what_is_served(root, first, tmp_path, capfd):
    folder = write_idx(tmp_path / "noisy", change_train=shuffle_labels)
    served = root / "serving" / "mnist_sample"
    # The data gate would stop it first. What comes out need not be good.
    other = ("--set", "data_gate.max_label_noise=1", "--set", "training.epochs=1")
    code, result = run_here(
        capfd, root, "--dataset", f"idx:{folder}", "--serving-dir", str(served), *other
    )
    assert (code, result["outcome"], result["release"]) == (3, "refused", None)
    assert "not_worse" in failed_checks(result)
    assert [v.number for v in serving_dir.versions(served)] == [1]


def test_a_release_that_was_taken_back_stays_so(root, first, capfd):
    served = root / "serving" / "mnist_sample"
    where = ("--serving-dir", str(served))
    # Another seed may be worse by chance, and four epochs are worse: that is not tested here.
    lenient = (
        *("training.epochs=4", "gate.confidence=0.999999", "gate.max_drop=0.1"),
        *("gate.floor=0.9", "gate.class_floor=0.5", "gate.max_cross_entropy=1"),
    )
    chosen = (word for key in lenient for word in ("--set", key))
    second = ("--seed", "1", "--reason", "few epochs", *chosen)
    code, result = run_here(capfd, root, *second)
    assert (code, result["release"]["version"]) == (0, 2)

    code, rolled_back = tfx_mnist(capfd, "rollback", "--reason", "worse by day", *where)
    assert (code, rolled_back["version"]) == (0, 3)
    assert serving_dir.newest_valid(served).manifest.model_digest == rolled_back["model_digest"]

    code, result = run_here(capfd, root, *second)
    assert (code, result["outcome"]) == (3, "refused")
    assert failed_checks(result) == ["integrity.withdrawn"]
    assert tfx_mnist(capfd, "verify", *where)[0] == 0
    assert [v.number for v in serving_dir.versions(served)] == [1, 2, 3]

    (served / "3" / "saved_model.pb").write_bytes(b"damaged")
    assert tfx_mnist(capfd, "verify", *where)[0] == 1
    code, result = run_here(capfd, root)
    assert (code, failed_checks(result)) == (3, ["baseline"])
    assert result["seconds"].keys() == {"total"}


def test_inverted_images_are_stopped_by_the_data_gate(root, tmp_path, capfd):
    def invert_one(images, labels):
        images[7] = 255 - images[7]
        return images, labels

    folder = write_idx(tmp_path / "inverted", change_train=invert_one)
    bound = "data_gate.max_mean_intensity=0.6"
    code, result = run_here(capfd, root, "--dataset", f"idx:{folder}", "--set", bound)
    assert (code, result["outcome"]) == (3, "refused")
    assert [name.rpartition(".")[2] for name in failed_checks(result)] == ["mean_intensity"]
    assert "Trainer" not in result["seconds"]


def test_poisoned_training_data_are_stopped_before_the_training(root, tmp_path, capfd):
    def poison(images, labels):
        return add_test_images(*shuffle_some_labels(images, labels))

    folder = write_idx(tmp_path / "poisoned", change_train=poison)
    code, result = run_here(capfd, root, "--dataset", f"idx:{folder}")
    assert (code, result["outcome"], result["release"]) == (3, "refused", None)
    assert {"data.label_noise", "data.overlap"} <= set(failed_checks(result))
    assert "DataGate" in result["seconds"]
    assert "Transform" not in result["seconds"]


def test_a_damaged_source_leaves_nothing_behind(tmp_path, capfd):
    folder = write_idx(tmp_path / "cut", change_train=lambda images, labels: (images, labels[:-1]))
    root = tmp_path / "root"
    code, result = run_here(capfd, root, "--dataset", f"idx:{folder}")
    assert (code, result["outcome"], result["release"]) == (2, "failed", None)
    assert "3,999" in result["error"] or "3999" in result["error"]
    assert not root.exists()


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


def weights(result: dict) -> dict[str, str]:
    """The digests of the released model's variables."""
    manifest = json.loads((Path(result["release"]["path"]) / "manifest.json").read_text())
    files = manifest["files"]
    return {name: files[name]["sha256"] for name in files if name.startswith("variables/")}


def wrote(root: Path, result: dict) -> dict[str, str]:
    """URI by component and output."""
    return {
        f"{one.component}.{each.output}": each.uri
        for one in executions_of(root / "metadata.sqlite", result["run_id"])
        for each in one.outputs
    }


def test_a_run_with_its_artifacts_in_a_store_decides_as_one_on_a_disk_even_after_a_kill(
    first, stored, tmp_path, capfd
):
    kill_when(stored, "--artifacts", STORE, there="/Trainer/model/")
    code, result = run_here(capfd, stored, "--artifacts", STORE)
    assert (code, result["outcome"], result["error"]) == (0, "released", None)
    assert {"ExampleGen", "Transform"} <= set(result["cached"])
    for key in ("dataset", "hparams", "metrics", "baseline"):
        assert result[key] == first[1][key], key
    assert decided(result) == decided(first[1])
    assert weights(result) == weights(first[1])

    uris = wrote(stored, result)
    assert all(uri.startswith(f"{STORE}/mnist_sample/") for uri in uris.values())
    assert not (stored / "artifacts").exists()
    stores.download(f"{uris['Trainer.model']}/Format-Serving", tmp_path / "model")
    (version,) = serving_dir.versions(stored / "serving" / "mnist_sample", check_files=True)
    assert not version.problems
    assert version.manifest.model_digest == serving_dir.digest_of(tmp_path / "model")


def test_a_second_run_takes_everything_from_the_store(stored, capfd):
    code, result = run_here(capfd, stored, "--artifacts", STORE)
    assert (code, result["outcome"]) == (0, "unchanged")
    assert set(result["cached"]) == set(result["seconds"]) - {"total"}


@pytest.mark.once
def test_what_was_altered_in_the_store_is_made_again_where_a_run_without_one_keeps_it(
    stored, capfd
):
    _, cached = run_here(capfd, stored, "--artifacts", STORE)
    store, blessing = stores._opened(wrote(stored, cached)["ReleaseGate.blessing"])
    with store.open_output_stream(f"{blessing}/checks.json") as writer:
        writer.write(b"[]")
    code, result = run_here(capfd, stored)
    assert (code, result["outcome"]) == (0, "unchanged")
    assert "Evaluator" in result["cached"]
    assert "ReleaseGate" not in result["cached"]
    assert wrote(stored, result)["ReleaseGate.blessing"].startswith(str(stored / "artifacts"))


@pytest.mark.once
def test_a_store_that_cannot_be_used_ends_a_run_before_it_begins(stored, capfd, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    code, result = run_here(capfd, stored, "--artifacts", STORE)
    assert (code, result["outcome"], set(result["seconds"])) == (2, "failed", {"total"})
    assert result["error"].startswith(f"cannot use {STORE}: ")
    # What lies there is needed without the option as well.
    code, result = run_here(capfd, stored)
    assert (code, result["outcome"]) == (1, "failed")
    assert f": cannot read {STORE}/mnist_sample/" in result["error"]
    served = str(stored / "serving" / "mnist_sample")
    assert tfx_mnist(capfd, "verify", "--serving-dir", served)[0] == 0
