import dataclasses
import json
import os
import tempfile
from pathlib import Path

import pytest

from pipeline import records
from pipeline.cli.main import main
from pipeline.result import REFUSED, RELEASED
from tests.pipeline.cli.processes import raiser, runner
from tests.pipeline.report.runs import REFUSED_RUN, RELEASED_RUN
from tests.trainer.host.test_paths import ordinary_user

Captured = pytest.CaptureFixture[str]


def shown(root: Path, capfd: Captured, *words: str) -> str:
    assert main(["runs", "--pipeline-root", str(root), *words]) == 0
    captured = capfd.readouterr()
    assert captured.err == ""
    return captured.out


def test_there_is_a_row_for_each_run_with_its_reason(tmp_path: Path, capfd: Captured) -> None:
    records.write(RELEASED_RUN, tmp_path / "reports")
    later = dataclasses.replace(REFUSED_RUN, run_id="20261125T101500Z-3f2a")
    records.write(later, tmp_path / "reports")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "20261126T101500Z-3f2a.log").touch()
    first, header, *rows = shown(tmp_path, capfd).splitlines()
    assert first == f"pipeline root: {tmp_path}"
    assert header.split()[0] == "started"
    assert [row.split()[3] for row in rows] == ["unfinished", "refused", "released"]
    assert "floor: accuracy 0.9700" in rows[1]
    assert rows[2].split()[4:7] == ["pets", "0.9700", "3"]


def test_json_lists_them(tmp_path: Path, capfd: Captured) -> None:
    records.write(RELEASED_RUN, tmp_path / "reports")
    page = tmp_path / "reports" / f"{RELEASED_RUN.run_id}.html"
    page.touch()
    fields = json.loads(shown(tmp_path, capfd, "--json"))
    (run,) = fields["runs"]
    assert (fields["pipeline_root"], fields["error"]) == (str(tmp_path), None)
    assert run["started"] == "2026-11-24T10:15:00+00:00"
    assert (run["run_id"], run["outcome"]) == (RELEASED_RUN.run_id, RELEASED)
    assert (run["report"], run["log"]) == (str(page), None)


def test_no_run_yet(tmp_path: Path, capfd: Captured) -> None:
    assert "no run yet" in shown(tmp_path, capfd)


def test_a_root_that_does_not_exist_is_a_usage_error(tmp_path: Path, capfd: Captured) -> None:
    for name in ("no", "e" * 256):
        assert main(["runs", "--pipeline-root", str(tmp_path / name)]) == 2
        captured = capfd.readouterr()
        assert captured.err == (
            f"tfx-mnist: the pipeline root {tmp_path / name} does not exist: give the "
            "--pipeline-root of the runs\n"
        )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (".", "cannot read ROOT/reports: Permission denied; give another --pipeline-root"),
        ("root", "the pipeline root ROOT cannot be read (Permission denied): give the"),
    ],
)
def test_a_root_that_this_user_may_not_read_is_a_usage_error(
    name: str, said: str, capfd: Captured
) -> None:
    main(["runs", "--pipeline-root", "/none"])  # imports all modules, which another user may not
    capfd.readouterr()
    with tempfile.TemporaryDirectory() as closed:  # pytest's own are root's alone
        os.chmod(closed, 0)
        root = Path(closed, name)
        with ordinary_user():
            assert main(["runs", "--pipeline-root", str(root)]) == 2
    assert capfd.readouterr().err.startswith(f"tfx-mnist: {said.replace('ROOT', str(root))}")


@pytest.mark.parametrize("outcome", [RELEASED, REFUSED])
def test_a_run_leaves_a_record_and_the_page_of_all_runs(
    outcome: str, root: Path, capfd: Captured
) -> None:
    main(["run", "--json", "--pipeline-root", str(root)], run=runner(outcome))
    fields = json.loads(capfd.readouterr().out)
    assert json.loads((root / "reports" / f"{fields['run_id']}.json").read_text()) == fields
    assert f">{fields['run_id']}</a>" in (root / "reports" / "index.html").read_text()
    (run,) = records.read_all(root)
    assert run.outcome == outcome


def test_an_interrupted_run_is_a_failed_one_that_says_so(root: Path, capfd: Captured) -> None:
    assert main(["run", "--pipeline-root", str(root)], run=raiser(KeyboardInterrupt())) == 130
    capfd.readouterr()
    (run,) = records.read_all(root)
    assert (run.outcome, run.reason.partition(";")[0]) == ("failed", "interrupted")
