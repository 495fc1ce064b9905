import json
from pathlib import Path
from typing import Any

import pytest

from components.serving_dir import LOG_NAME, digest_of, prune, publish, rollback
from pipeline.cli.main import main
from pipeline.executions import Execution, NoMetadata, Written
from tests.components.serving_dir.samples import NOON, damage, letter_model
from tests.pipeline.cli.processes import process

Captured = pytest.CaptureFixture[str]
APPROVAL = {
    **{"run_id": "20261124T120003Z-abcd", "held_at": NOON, "at": NOON},
    **{"by": "Ada", "reason": "looked at it"},
}
OVERRIDES = {"keys": ["gate.floor"], "reason": "a trial"}
SPLITS = {"train": {"rows": 5000, "class_counts": [2500, 2500], "digest": "c" * 64}}


def release(run: int, baseline: object, **more: Any) -> dict[str, Any]:
    return {
        "run_id": f"20261124T12000{run}Z-abcd-compared",
        "run_key": "a" * 64,
        "preset": "fast",
        "seed": 7,
        "training": {"epochs": 8, "weights": "", "deterministic": False, "extra": {}},
        "policy": {"floor": 0.9, "slices": [{"feature": "camera", "values": ["a"]}]},
        "dataset": {
            "name": "mnist",
            "fingerprint": "0123456789abcdef" * 4,
            "class_names": ["a", "b"],
            "image_shape": [28, 28, 1],
            "splits": SPLITS,
        },
        "metrics": {"accuracy": 0.99},
        "baseline": baseline,
        **more,
    }


@pytest.fixture
def serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three releases, each compared with the one before; the last one was approved by a person."""
    monkeypatch.setattr("components.serving_dir.publishing.utc_now", lambda: NOON)
    serving, baseline = tmp_path / "serving", None
    for number, letter in enumerate("abc", start=1):
        model = letter_model(tmp_path, letter)
        more = {"approval": APPROVAL, "overrides": OVERRIDES} if number == 3 else {}
        publish(model, serving, release(number, baseline, **more))
        baseline = {"version": number, "model_digest": digest_of(model)}
    return serving


def shown(serving: Path, capfd: Captured, *words: str) -> str:
    root = str(serving.parent / "root")
    command = ["lineage", "--serving-dir", str(serving), "--pipeline-root", root, *words]
    assert main(command) == 0
    captured = capfd.readouterr()
    assert captured.err == ""
    return captured.out


def test_it_names_data_configuration_parents_and_approver(serving: Path, capfd: Captured) -> None:
    lines = [" ".join(line.split()) for line in shown(serving, capfd).splitlines()]
    digests = [digest_of(letter_model(serving.parent, letter))[:12] for letter in "ab"]
    assert lines[0] == f"version 3 in {serving / '3'}"
    for expected in (
        f"published {NOON}",
        f"data set mnist, source {'0123456789abcdef' * 4}",
        f"split train 5,000 examples, {'c' * 64}",
        "accuracy 0.9900",
        f"compared with version 2 (model {digests[1]}), that with version 1 (model {digests[0]})",
        f"approved by Ada at {NOON}: looked at it",
        "overridden gate.floor: a trial",
        "preset, seed fast, 7",
        "training epochs 8, deterministic false",
        'policy floor 0.9, slices [{"feature": "camera", "values": ["a"]}]',
    ):
        assert expected in lines
    assert lines[-1].startswith(f"executions: there is no {serving.parent}/root/metadata.sqlite: ")


def test_a_first_release_and_a_removed_parent_are_said(serving: Path, capfd: Captured) -> None:
    assert "nothing: a first release" in shown(serving, capfd, "1")
    assert "by the gate alone" in shown(serving, capfd, "1")
    prune(serving, 2)
    assert ", removed)" in shown(serving, capfd, "2")


def test_a_rollback_says_what_it_restores(serving: Path, capfd: Captured) -> None:
    rollback(serving, 2, reason="worse\nby day")
    assert "restores 2 in place of 3" in shown(serving, capfd)
    assert "by 4: worse by day" in shown(serving, capfd, "3")


def test_the_executions_are_those_of_the_run(
    serving: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def executions_of(database: Path, run_id: str) -> list[Execution]:
        asked.append((database, run_id))
        outputs = (Written("model", "root/model/8", "d" * 64),)
        earlier = Execution(8, "Trainer", "complete", NOON, None, "e" * 64, 8, outputs)
        return [earlier, Execution(9, "Trainer", "cached", NOON, 61.0, "e" * 64, 8, outputs)]

    monkeypatch.setattr("pipeline.cli.lineage.executions_of", executions_of)
    *_, earlier, row = map(str.split, shown(serving, capfd).splitlines())
    assert earlier[2:6] == ["complete", "2026-11-24", "12:00:00", "-"]
    assert row[:5] == ["9", "Trainer", "cached,", "made", "by"]
    assert row[5:] == [
        *("8", "2026-11-24", "12:00:00", "1", "min", "01", "s"),
        *("e" * 12, "model", "d" * 12),
    ]
    assert asked == [(serving.parent / "root" / "metadata.sqlite", "20261124T120003Z-abcd")]


def test_a_damaged_log_is_a_line_of_ours_beside_the_lineage(serving: Path) -> None:
    from ml_metadata.metadata_store.metadata_store import MetadataStore
    from ml_metadata.proto import metadata_store_pb2 as pb2

    config = pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(serving.parent / "metadata.sqlite")
    MetadataStore(config)
    (serving / LOG_NAME).write_text("damaged\n")
    words = ["--serving-dir", str(serving), "--pipeline-root", str(serving.parent)]
    done = process(["lineage", *words])
    assert done.returncode == 0
    assert done.stderr.startswith(f"tfx-mnist: line 1 of {serving / LOG_NAME} is damaged")


def test_json_holds_the_full_values(serving: Path, capfd: Captured) -> None:
    fields = json.loads(shown(serving, capfd, "3", "--json"))
    assert fields["dataset"]["splits"] == SPLITS
    assert fields["approval"] == APPROVAL
    assert [each["version"] for each in fields["ancestors"]] == [2, 1]
    assert [each["present"] for each in fields["ancestors"]] == [True, True]
    assert fields["executions"] is None
    assert "metadata.sqlite" in fields["executions_problem"]
    assert fields["error"] is None


def test_without_a_manifest_nothing_is_known(serving: Path, capfd: Captured) -> None:
    damage(serving, 3)
    (serving / "3" / "manifest.json").unlink()
    assert main(["lineage", "--serving-dir", str(serving)]) == 1
    line = capfd.readouterr().err
    assert line.startswith(f"tfx-mnist: version 3 in {serving / '3'} has no manifest.json")
    assert main(["lineage", "9", "--serving-dir", str(serving)]) == 1
    assert "there is no version 9" in capfd.readouterr().err


def test_a_database_that_cannot_be_read_is_said(
    serving: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(database: Path, run_id: str) -> list[Execution]:
        raise NoMetadata("it cannot be read")

    monkeypatch.setattr("pipeline.cli.lineage.executions_of", broken)
    assert shown(serving, capfd).splitlines()[-1] == "executions: it cannot be read"
