import json
import re
from pathlib import Path

import pytest

from components import serving_dir
from components.serving_dir import verify
from components.serving_dir.version import Trust
from pipeline.cli.main import main
from tests.components.serving_dir.samples import damage, write_model

Captured = pytest.CaptureFixture[str]


def test_whole_versions_are_valid(serving: Path, capfd: Captured) -> None:
    assert main(["verify", "--serving-dir", str(serving)]) == 0
    lines = ["version 1: valid", "version 2: valid", "version 3: valid"]
    assert capfd.readouterr() == (
        "\n".join([f"serving directory: {serving}", *lines, ""]),
        "",
    )


def test_damage_is_named_by_file_and_ends_with_1(serving: Path, capfd: Captured) -> None:
    damage(serving, 1)
    (serving / "2" / "more").touch()
    assert main(["verify", "--serving-dir", str(serving)]) == 1
    shown = capfd.readouterr()
    lines = shown.out.splitlines()
    assert lines[1] == "version 1: damaged"
    assert lines[2].startswith("  file 'saved_model.pb' has SHA-256 ")
    assert lines[3:] == [
        "version 2: damaged",
        "  file 'more' is not in manifest.json",
        "version 3: valid",
    ]
    assert shown.err == (
        f"tfx-mnist: damaged versions in {serving}: 1, 2; restore their files, or roll back and "
        "prune\n"
    )


def test_json_is_one_object_with_or_without_damage(serving: Path, capfd: Captured) -> None:
    assert main(["verify", "--json", "--serving-dir", str(serving)]) == 0
    fields = json.loads(capfd.readouterr().out)
    assert fields["error"] is None
    assert [version["valid"] for version in fields["versions"]] == [True, True, True]

    (serving / "2" / "saved_model.pb").unlink()
    assert main(["verify", "--json", "--serving-dir", str(serving)]) == 1
    shown = capfd.readouterr()
    fields = json.loads(shown.out)
    assert shown.err == f"tfx-mnist: {fields['error']}\n"
    assert fields["versions"][1] == {
        "version": 2,
        "path": str(serving / "2"),
        "valid": False,
        "problems": ["file 'saved_model.pb' is missing"],
    }


def test_nothing_is_not_damaged(tmp_path: Path, capfd: Captured) -> None:
    assert main(["verify", "--serving-dir", str(tmp_path)]) == 0
    assert capfd.readouterr().out.endswith("no version yet\n")


def test_of_other_versions_than_the_one_that_is_named_no_model_is_read(
    serving: Path, tmp_path: Path, capfd: Captured
) -> None:
    large = write_model(tmp_path / "large", {"saved_model.pb": bytes(20 << 20)})
    serving_dir.publish(large, serving, {})
    before = _bytes_read()
    assert main(["verify", "1", "--serving-dir", str(serving)]) == 0
    assert _bytes_read() - before < 10 << 20
    assert main(["verify", "4", "--serving-dir", str(serving)]) == 0
    assert capfd.readouterr().out.splitlines()[1::2] == ["version 1: valid", "version 4: valid"]


def test_one_that_is_pruned_while_it_is_read_is_gone_and_not_damaged(
    serving: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    def late(version: serving_dir.Version, trust: Trust | None) -> tuple[str, ...]:
        serving_dir.prune(serving, 1)
        return verify(version, trust)

    monkeypatch.setattr(serving_dir, "verify", late)
    assert main(["verify", "1", "--serving-dir", str(serving)]) == 1
    assert capfd.readouterr() == (
        "",
        f"tfx-mnist: there is no version 1 in {serving}: known are 2, 3\n",
    )


def _bytes_read() -> int:
    """By this process so far: see proc(5), rchar."""
    return int(re.search(r"rchar: (\d+)", Path("/proc/self/io").read_text())[1])
