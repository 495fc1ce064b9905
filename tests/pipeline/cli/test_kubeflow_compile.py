"""`kubeflow compile`: the file, its answers, and what it refuses in one line."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.cli.kubeflow_compile import compile_
from pipeline.cli.main import main
from pipeline.cli.run import run

Captured = pytest.CaptureFixture[str]

WHERE = ("--image", "i:1", "--pipeline-root", "s3://bucket/root", "--serving-dir", "pvc://models/m")


def _compile(path: Path, *words: str) -> int:
    return main(["kubeflow", "compile", "-o", str(path), *WHERE, *words])


def _asked(executor: dict[str, Any]) -> dict[str, Any]:
    """What it asks of its node, in the fields that every version of kfp writes."""
    asked = dict(executor["container"].get("resources", {}))
    if "accelerator" in asked:
        asked["accelerator"] = {key: asked["accelerator"][key] for key in ("type", "count")}
    return {key: one for key, one in asked.items() if not key.startswith("resource")}


def test_the_yaml_is_written_and_one_line_says_so(tmp_path: Path, capfd: Captured) -> None:
    path = tmp_path / "pipeline.yaml"
    words = ["--preset", "fast", "--dataset", "mnist", "--set", "training.epochs=2"]
    assert _compile(path, *words, "--gpus", "2", "--cpus", "Evaluator=1.5", "--memory", "8Gi") == 0
    assert capfd.readouterr() == (f"compiled: 14 tasks in {path}\n", "")
    pipeline, platform = yaml.safe_load_all(path.read_text())
    parameters = pipeline["root"]["inputDefinitions"]["parameters"]
    assert {name: one["defaultValue"] for name, one in parameters.items()} == {
        "dataset": "mnist",
        "preset": "fast",
        "seed": 0,
        "epochs": "2",
        "floor": "",
    }
    executors = pipeline["deploymentSpec"]["executors"]
    assert _asked(executors["exec-trainer"]) == {
        "memoryLimit": 8 * 2**30 / 1e9,
        "accelerator": {"type": "nvidia.com/gpu", "count": "2"},
    }
    assert _asked(executors["exec-evaluator"]) == {"cpuLimit": 1.5}
    assert "kubernetes" in platform["platforms"]


def test_what_a_search_found_is_compiled_in(tmp_path: Path) -> None:
    (tmp_path / "best.json").write_text('{"width": 1.25, "epochs": 3}')
    path = tmp_path / "pipeline.yaml"
    assert _compile(path, "--hparams", str(tmp_path / "best.json")) == 0
    assert '"training.width": 1.25' in path.read_text()
    pipeline, _ = yaml.safe_load_all(path.read_text())
    assert pipeline["root"]["inputDefinitions"]["parameters"]["epochs"]["defaultValue"] == "3"


def test_it_takes_the_flags_of_run_but_for_files_of_this_machine_and_a_place_of_artifacts() -> None:
    of_run, ours = (
        {flag for one in command.params for flag in one.opts} for command in (run, compile_)
    )
    files = {"--save-hparams", "--junit", "--markdown", "--signing-key"}
    assert of_run - ours == {*files, "--artifacts"}  # the backend keeps them


def test_a_search_asks_for_the_same_as_the_training(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    words = ["--tune", "--deterministic", "--gpus", "1", "--memory", "4G", "--cpus", "Tuner=2"]
    assert _compile(path, *words) == 0
    pipeline, _ = yaml.safe_load_all(path.read_text())
    executors = pipeline["deploymentSpec"]["executors"]
    both = {"memoryLimit": 4.0, "accelerator": {"type": "nvidia.com/gpu", "count": "1"}}
    assert {name: asked for name, executor in executors.items() if (asked := _asked(executor))} == {
        "exec-tuner": {**both, "cpuLimit": 2.0},
        "exec-trainer": both,
    }
    settings = pipeline["root"]["dag"]["tasks"]["plan"]["inputs"]["parameters"]["settings"]
    compiled_in = json.loads(settings["runtimeValue"]["constant"])
    assert compiled_in["tuning.enabled"] is True
    assert compiled_in["training.deterministic"] is True


@pytest.mark.parametrize("words", [["--no-cache"], ["--set", "cache=false"]])
def test_without_a_cache_the_backend_takes_over_nothing(tmp_path: Path, words: list[str]) -> None:
    path = tmp_path / "pipeline.yaml"
    assert _compile(path, *words) == 0
    assert "enableCache" not in path.read_text()


def test_json_names_the_tasks(tmp_path: Path, capfd: Captured) -> None:
    path = tmp_path / "pipeline.yaml"
    assert _compile(path, "--json") == 0
    shown = capfd.readouterr()
    fields = json.loads(shown.out)
    assert (shown.err, fields["pipeline"], fields["error"]) == ("", str(path), None)
    assert (fields["tasks"][0], fields["tasks"][-1]) == ("Plan", "Pusher")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--image", ""], "the image is '', expected one as a node pulls it, such as registry."),
        (["--pipeline-root", "/tmp/x"], "--pipeline-root is '/tmp/x', expected one of gs://B"),
        (["--pipeline-root", "s3://"], "--pipeline-root is 's3://', expected one of gs://B"),
        (["--pipeline-root", "s3:///x"], "--pipeline-root is 's3:///x', expected one of gs://"),
        (["--beam-arg", "--runnr=x"], "unknown option of Beam '--runnr': did you mean '--runner'"),
        (["--dataset", "idx:data"], "dataset is 'idx:data', expected an absolute path"),
        (["--serving-dir", "s3://b/m"], "'s3://b/m' is no directory in a container, expected pvc:"),
        (["--data-dir", "pvc://A"], "'pvc://A' names no directory of a volume claim, expected pvc"),
        (["--gpus", "half"], "--gpus is 'half', expected a whole number"),
        (["--cpus", "Trainer=0"], "--cpus is 'Trainer=0', expected a number above 0"),
        (["--memory", "8"], "--memory is '8', expected a number with M, G, Mi or Gi"),
        (["--gpus", "Trainr=1"], "unknown component 'Trainr': did you mean 'Trainer'?"),
        (["--gpus", "Tuner=1"], "unknown component 'Tuner': "),
        (["--secret-env", "x"], "'x' names no variable from a secret, expected SECRET:KEY=VARIABL"),
        (
            ["--set", "serving.signing_key=key.pem"],
            "serving.signing_key is 'key.pem', expected an absolute path, as the containers see it",
        ),
        (
            ["--set", "serving.public_key=/mnt/keys/public.pem"],
            "serving.public_key is '/mnt/keys/public.pem' without serving.signing_key: the new ver",
        ),
        (["--set", "card.owner={{x}}"], "card.owner is '{{x}}', expected no '{{': Argo, which r"),
        (["--retries", "3000000000"], "--retries is '3000000000', expected a whole number from 0"),
        (["--preset", "quik"], "unknown preset 'quik': did you mean 'quick'?"),
        (
            ["--set", "serving_dir=/x"],
            "serving_dir is set in the configuration, expected by --serv",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    tmp_path: Path, words: list[str], line: str, capfd: Captured
) -> None:
    path = tmp_path / "pipeline.yaml"
    assert _compile(path, *words) == 2
    shown = capfd.readouterr()
    assert shown.err.startswith(f"tfx-mnist: {line}")
    assert (shown.err.count("\n"), shown.out) == (1, "")
    assert not path.exists()


def test_without_kfp_one_line_says_what_to_install(
    tmp_path: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kfp", None)
    assert _compile(tmp_path / "pipeline.yaml") == 1
    assert capfd.readouterr().err == (
        "tfx-mnist: kfp is not installed, expected it for `tfx-mnist kubeflow`: pip install "
        "'.[kubeflow]' in the checkout\n"
    )
