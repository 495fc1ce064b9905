"""A run in containers comes to what the local run does; a stand-in for kfp runs the tasks."""

from pathlib import Path

import pytest

from pipeline import result
from pipeline.config_model import build
from pipeline.runners import local
from tests.pipeline.runners.kubeflow.backend import ANY_MODEL
from tests.pipeline.runners.kubeflow.kfp_python import run_in_containers, write_kfp_python
from tests.pipeline.runners.watch import Watch
from tests.pipeline.thirds import write_thirds

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SMALL = {**ANY_MODEL, "training.deterministic": True}


def test_the_result_is_that_of_the_local_run(tmp_path: Path) -> None:
    """Each task is executed by the entrypoint, in one process in place of the containers."""
    program = write_kfp_python(
        tmp_path,
        f"""
        sys.path.insert(0, {str(ROOT)!r}); sys.argv = ["kfp"]
        import tests
        tests.__path__ = [{str(ROOT / "tests")!r}]  # distributions bring packages of that name
        os.environ.update(order["environment"])
        from pipeline.runners.kubeflow.compiling import SCRATCH
        from tests.pipeline.runners.kubeflow.backend import Backend
        text = pathlib.Path(order["pipeline"]).read_text().replace(SCRATCH, str(home / "scratch"))
        ended = Backend(text, home).run()
        sys.exit(any(one.code for one in ended.values()))
        """,
    )
    searching = {"tuning.enabled": True, "tuning.max_trials": 1}
    given = {"dataset": write_thirds(tmp_path / "thirds"), **SMALL, **searching}
    configured = build("quick", {**given, "pipeline_root": str(tmp_path / "local")})
    expected = local.run(configured, run_id="run-1", observer=Watch())
    found, _ = run_in_containers(tmp_path / "containers", program, **given)
    assert found.outcome == expected.outcome == result.RELEASED
    for name in ("dataset", "policy", "baseline", "hparams", "evidence", "error", "bad_data"):
        assert getattr(found, name) == getattr(expected, name), name
    assert found.hparams is not None
    assert [trial.values for trial in found.tuning.trials] == [
        trial.values for trial in expected.tuning.trials
    ]
    assert Path(found.tuning_plot).is_file()
    assert [check.name for check in found.checks] == [check.name for check in expected.checks]
