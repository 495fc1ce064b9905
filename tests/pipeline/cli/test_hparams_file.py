"""Hyper-parameters to a file and back, and files that are refused."""

import json
from pathlib import Path
from typing import Any

import keras_tuner
import pytest

from pipeline.cli.main import main
from pipeline.config import ConfigError, RunConfig
from pipeline.result import REFUSED, RELEASED, RunResult
from tests.pipeline.cli.parsing import given
from tests.pipeline.cli.processes import runner
from tests.refusals import refusal_of
from trainer.hparams import HParams

HPARAMS = HParams(learning_rate=1e-5, max_shift=1, dropout=0.25, deterministic=True)


class TestRead:
    def test_keras_tuners_own_file_may_be_given(self, tmp_path: Path) -> None:
        found = keras_tuner.HyperParameters()
        found.Choice("dropout", [0.1, 0.2])
        found.values["tuner/epochs"] = 3
        file = tmp_path / "best_hyperparameters.txt"
        file.write_text(json.dumps(found.get_config()))
        assert given("--hparams", str(file)).chosen() == ("quick", {"training.dropout": 0.1})

    def test_yaml_with_some_keys_will_do(self, tmp_path: Path) -> None:
        (tmp_path / "some.yaml").write_text("width: 1.5\ndropout: 0.1\n")
        training = given("--hparams", str(tmp_path / "some.yaml")).configuration().training
        assert (training.width, training.dropout) == (1.5, 0.1)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("droput: 0.1", "f: unknown key 'training.droput': did you mean 'training.dropout'?"),
            ("dropout: 1.5", "f: training.dropout is '1.5', expected a number from 0"),
            ("- 1", "f holds no hyper-parameters, expected keys with values, such as"),
            ("", "f holds no hyper-parameters, expected keys with values, such as"),
            ("1: 2", "f: unknown key 'training.1': "),
        ],
    )
    def test_a_bad_file_is_one_line(self, tmp_path: Path, content: str, message: str) -> None:
        (tmp_path / "f").write_text(content)
        assert message in refusal_of(
            ConfigError, lambda: given("--hparams", str(tmp_path / "f")).configuration()
        )


class TestRun:
    def test_one_run_saves_and_the_next_trains_with_them(self, root: Path, tmp_path: Path) -> None:
        file, seen = tmp_path / "best.json", []

        def run(config: RunConfig, *, run_id: str, observer: Any) -> RunResult:
            seen.append(config.training)
            return RunResult(run_id, RELEASED, hparams=HPARAMS.to_config())

        words = ["run", "--pipeline-root", str(root)]
        assert main([*words, "--save-hparams", str(file)], run=run) == 0
        assert main([*words, "--preset", "fast", "--hparams", str(file)], run=run) == 0
        flag = ["--set", "training.dropout=0.5"]
        assert main([*words, *flag, "--hparams", str(file)], run=run) == 0
        assert seen[1] == HPARAMS
        assert seen[2].dropout == 0.5  # flags go over the file

    def test_a_refused_model_leaves_its_hyper_parameters(self, root: Path, tmp_path: Path) -> None:
        words = ["run", "--pipeline-root", str(root), "--save-hparams", str(tmp_path / "f")]
        assert main(words, run=runner(REFUSED, hparams={"epochs": 3})) == 3
        assert json.loads((tmp_path / "f").read_text()) == {"epochs": 3}

    def test_a_run_that_ended_before_leaves_no_file(self, root: Path, tmp_path: Path) -> None:
        words = ["run", "--pipeline-root", str(root), "--save-hparams", str(tmp_path / "f")]
        main(words, run=runner(REFUSED))
        assert not (tmp_path / "f").exists()

    @pytest.mark.parametrize(
        ("option", "file", "line"),
        [
            ("--hparams", "no/such", "cannot read the hyper-parameters no/such: No such"),
            (
                "--save-hparams",
                "no/such",
                "cannot save the hyper-parameters to no/such: expected a",
            ),
            ("--save-hparams", "/proc", "cannot save the hyper-parameters to /proc: expected a"),
            ("--save-hparams", "/proc/sys/best.json", "--save-hparams needs '/proc/sys'"),
        ],
    )
    def test_a_bad_file_is_a_users_error_and_nothing_is_written(
        self,
        option: str,
        file: str,
        line: str,
        root: Path,
        tmp_path: Path,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        words = ["run", "--pipeline-root", str(root), option, file]
        assert main(words, run=runner(RELEASED)) == 2
        shown = capfd.readouterr().err
        assert shown.startswith(f"tfx-mnist: {line}")
        assert shown.count("\n") == 1
        assert not root.exists()
        cases = tmp_path / "run.xml"
        assert main([*words, "--junit", str(cases)], run=runner(RELEASED)) == 2
        assert 'name="decision"' in cases.read_text()

    def test_tune_turns_the_search_on(self, root: Path) -> None:
        seen = []

        def run(config: RunConfig, *, run_id: str, observer: Any) -> RunResult:
            seen.append(config.tuning)
            return RunResult(run_id, RELEASED)

        words = ["run", "--pipeline-root", str(root), "--tune"]
        main([*words, "--set", "tuning.max_minutes=5"], run=run)
        assert (seen[0].enabled, seen[0].max_minutes) == (True, 5.0)
