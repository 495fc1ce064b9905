import json
from pathlib import Path
from typing import Any

import pytest

from components.serving_dir import digest_of, publish, rollback
from pipeline.cli.main import main
from tests.components.serving_dir.samples import NOON, damage, letter_model

Captured = pytest.CaptureFixture[str]


def _release(run: int, accuracy: float, baseline: object) -> dict[str, Any]:
    return {
        "run_id": f"20261124T12000{run}Z-abcd",
        "dataset": {"name": "mnist", "fingerprint": "0123456789abcdef" * 4},
        "metrics": {"accuracy": accuracy},
        "baseline": baseline,
    }


@pytest.fixture
def serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two releases, a rollback from the second to the first, and a damaged third release."""
    monkeypatch.setattr("components.serving_dir.publishing.utc_now", lambda: NOON)
    serving = tmp_path / "serving"
    models = [letter_model(tmp_path, letter) for letter in "abc"]
    publish(models[0], serving, _release(1, 0.99, None))
    baseline = {"version": 1, "model_digest": digest_of(models[0])}
    publish(models[1], serving, _release(2, 0.9912, baseline))
    rollback(serving, reason="too\nmany sevens")
    publish(models[2], serving, {})
    damage(serving, 4)
    return serving


def _shown(serving: Path, capfd: Captured, *words: str) -> str:
    assert main(["versions", "--serving-dir", str(serving), *words]) == 0
    shown = capfd.readouterr()
    assert shown.err == ""
    return shown.out


def test_there_is_a_row_for_each_version(serving: Path, capfd: Captured) -> None:
    assert _shown(serving, capfd).splitlines() == [
        f"serving directory: {serving}",
        "version  published (UTC)      run                    data set        accuracy  baseline  "
        "files",
        "1        2026-11-24 12:00:00  20261124T120001Z-abcd  mnist 01234567  0.9900    -         "
        "match",
        "2        2026-11-24 12:00:00  20261124T120002Z-abcd  mnist 01234567  0.9912    1         "
        "match    withdrawn by 3: too many sevens",
        "3        2026-11-24 12:00:00  20261124T120001Z-abcd  mnist 01234567  0.9900    -         "
        "match    restores 1 in place of 2",
        "4 live   2026-11-24 12:00:00  -                      -               -         -         "
        "damaged",
        "`tfx-mnist verify` says what is wrong with damaged files",
    ]


def test_json_holds_the_full_values(serving: Path, capfd: Captured) -> None:
    fields = json.loads(_shown(serving, capfd, "--json"))
    assert {key: fields[key] for key in ("serving_dir", "live", "error")} == {
        "serving_dir": str(serving),
        "live": 4,
        "error": None,
    }
    digests = [digest_of(letter_model(serving.parent, letter)) for letter in "ab"]
    assert fields["versions"][1] == {
        "version": 2,
        "path": str(serving / "2"),
        "live": False,
        "published_at": "2026-11-24T12:00:00+00:00",
        "run_id": "20261124T120002Z-abcd",
        "dataset": {"name": "mnist", "digest": "0123456789abcdef" * 4},
        "accuracy": 0.9912,
        "baseline": {"version": 1, "model_digest": digests[0]},
        "model_digest": digests[1],
        "valid": True,
        "problems": [],
        "rollback": None,
        "approval": None,
        "overrides": None,
        "withdrawn": {
            "version": 2,
            "model_digest": digests[1],
            "by": 3,
            "reason": "too\nmany sevens",
            "at": "2026-11-24T12:00:00+00:00",
        },
    }
    assert fields["versions"][2]["rollback"] == {
        "restores": 1,
        "withdraws": 2,
        "withdrawn_digest": digests[1],
        "reason": "too\nmany sevens",
    }
    last = fields["versions"][3]
    assert (last["live"], last["valid"], last["run_id"]) == (True, False, None)
    assert "'saved_model.pb' has SHA-256" in last["problems"][0]


def test_a_release_record_without_some_fields_is_no_error(tmp_path: Path, capfd: Captured) -> None:
    release = {"dataset": None, "metrics": {}, "baseline": None}
    publish(letter_model(tmp_path, "a"), tmp_path / "serving", release)
    assert _shown(tmp_path / "serving", capfd).splitlines()[2].split()[4:] == [
        *("-", "-", "-", "-", "match"),
    ]


def test_an_entry_of_another_tool_is_shown(serving: Path, capfd: Captured) -> None:
    (serving / "7").mkdir()
    row = _shown(serving, capfd).splitlines()[-2]
    assert row.split() == ["7", "live", *"-----", "damaged"]


def test_without_a_version_it_says_so(tmp_path: Path, capfd: Captured) -> None:
    assert _shown(tmp_path, capfd) == f"serving directory: {tmp_path}\nno version yet\n"
    fields = json.loads(_shown(tmp_path, capfd, "--json"))
    assert (fields["live"], fields["versions"]) == (None, [])
