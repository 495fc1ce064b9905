"""`gate check`: what it prints, its exit codes, and what it refuses."""

import json
from pathlib import Path

import pytest
import tensorflow as tf

from components.serving_dir import LOG_NAME
from pipeline.cli.main import main
from tests.pipeline.cli.processes import process
from tests.pipeline.saved_models import brightest_third, images, save_function, without_end

Captured = pytest.CaptureFixture[str]

# 60 test images tell little: what holds for them must be asked loosely.
LOOSE = (
    *("--set", "gate.floor=0.8", "--set", "gate.class_floor=0.8"),
    *("--set", "gate.max_drop=0.2", "--set", "gate.max_cross_entropy=2"),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "third"
    return save_function(path, brightest_third, images(12, 12))


@pytest.fixture(scope="module")
def negative(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers that sum to 1 and are no probabilities."""

    def odd(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"odd": tf.cast(pixels[:, :3, 0], tf.float32) * 0.0 + [-0.1, 0.5, 0.6]}

    return save_function(tmp_path_factory.mktemp("models") / "negative", odd, images(12, 12))


@pytest.fixture
def words(thirds: str, root: Path) -> list[str]:
    return ["gate", "check", "--dataset", thirds, "--pipeline-root", str(root)]


def test_the_lines_are_those_of_a_run_and_the_last_one_is_the_decision(
    words: list[str], model: Path, capfd: Captured
) -> None:
    assert main([*words, *LOOSE, "--model", str(model), "--baseline", str(model)]) == 0
    shown = capfd.readouterr()
    lines = shown.out.splitlines()
    assert lines[0].startswith("data: idx_thirds_")
    asked = "serving_default asked with pixels without a channel axis"
    assert lines[1:4] == [
        f"model: {model}, {asked}",
        f"baseline: {model}, {asked}",
        "accuracy: 0.9833 on 60 test images; the baseline's is 0.9833",
    ]
    assert lines[4:7] == [
        "  passed: test: 0 of 60 images only repeat another test image, pixel by pixel (0.00 %), "
        "at most 1.00 % is allowed",
        "  passed: 6 integrity checks",
        "  passed: decision 1 on this test set: it releases a bad model with a probability of at "
        "most 0.45 %, all decisions together with at most 5 %",
    ]
    assert lines[-1] == "passed"
    assert shown.err == ""


def test_a_refusal_has_its_sentence_and_ends_with_3(
    words: list[str], model: Path, capfd: Captured
) -> None:
    assert main([*words, *LOOSE, "--set", "gate.floor=0.99", "--model", str(model)]) == 3
    shown = capfd.readouterr()
    assert "  failed: accuracy 0.9833; its 99.55 % lower bound 0.8" in shown.out
    assert shown.out.endswith("\nrefused\n")
    assert shown.err == ""


def test_json_is_one_object(words: list[str], model: Path, capfd: Captured) -> None:
    assert main([*words, *LOOSE, "--model", str(model), "--json"]) == 0
    shown = capfd.readouterr()
    assert (shown.out.count("\n"), shown.err) == (1, "")
    fields = json.loads(shown.out)
    assert list(fields) == [
        *("decision", "checks", "left_out", "metrics", "dataset", "model", "baseline", "log"),
        "error",
    ]
    assert (fields["decision"], fields["baseline"], fields["error"]) == ("passed", None, None)
    assert fields["metrics"]["accuracy"] == pytest.approx(59 / 60)


def test_a_runs_configuration_file_gives_the_data_set_and_the_policy(
    thirds: str, root: Path, model: Path, tmp_path: Path, capfd: Captured
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(f"dataset: {thirds}\ntraining: {{epochs: 8}}\ngate: {{floor: 0.99}}\n")
    words = ["gate", "check", "--pipeline-root", str(root), *LOOSE[2:]]
    words = [*words, "--model", str(model), "--config", str(file)]
    assert main(words) == 3
    assert "misses the floor 0.9900" in capfd.readouterr().out
    assert main([*words, "--set", "gate.floor=0.8"]) == 0


def test_the_decision_is_written_where_it_is_said(
    words: list[str], model: Path, root: Path, tmp_path: Path
) -> None:
    serving = tmp_path / "elsewhere"
    main([*words, "--model", str(model), "--serving-dir", str(serving)])
    assert (serving / LOG_NAME).read_text().count("\n") == 1
    main([*words, "--model", str(model)])
    assert len(list((root / "serving").glob(f"idx_thirds_*/{LOG_NAME}"))) == 1


@pytest.mark.parametrize(
    ("added", "line"),
    [
        ("", "--model is missing, and so is --predictions, expected one of them; see tfx-mnist ga"),
        ("--model MODEL --slice age", "--slice has no effect with --model: leave it"),
        ("--model NONE", "there is no SavedModel in NONE: it does not exist; give the dir"),
        ("--model MODEL --signature x", "the model MODEL has no signature 'x': choose"),
        (
            "--model MODEL --baseline MODEL --baseline-signature x",
            "the model MODEL has no signature 'x': choose",
        ),
        ("--model MODEL --dataset idx:NONE", "idx:NONE: there is no such directory"),
        ("--model MODEL --set seed=1", "seed has no effect here, expected one of "),
        ("--model MODEL --set gate.slices=weight:1", "gate.slices names the feature 'w"),
        (
            "--model MODEL --baseline KERAS --set gate.allow_missing_baseline=true",
            "there is no SavedModel in KERAS: it is a Keras file; write a SavedModel with",
        ),
        (
            "--model NEGATIVE",
            "the output 'odd' of the signature 'serving_default' of NEGATIVE holds no probabilit"
            "ies: those of one image are -0.1 to 0.6 and sum to 1, expected 0 or more",
        ),
        ("--model=", "--model is '', expected a path; see"),
    ],
)
def test_what_does_not_fit_is_one_line_and_ends_with_2(
    added: str,
    line: str,
    words: list[str],
    model: Path,
    negative: Path,
    root: Path,
    tmp_path: Path,
    capfd: Captured,
) -> None:
    keras = tmp_path / "m.keras"
    keras.touch()
    places = {"MODEL": model, "NEGATIVE": negative, "NONE": root / "none", "KERAS": keras}

    def filled(text: str) -> str:
        for word, path in places.items():
            text = text.replace(word, str(path))
        return text

    assert main([*words, *map(filled, added.split()), "--json"]) == 2
    shown = capfd.readouterr()
    error = json.loads(shown.out)["error"]
    assert error.startswith(filled(line))
    assert shown.err == f"tfx-mnist: {error}\n"
    assert not (root / "serving").exists()


def test_a_data_set_must_be_named(model: Path, capfd: Captured) -> None:
    assert main(["gate", "check", "--model", str(model)]) == 2
    assert "--dataset is missing; see" in capfd.readouterr().err


def test_a_decision_that_cannot_be_written_down_ends_with_1(
    words: list[str], model: Path, tmp_path: Path, capfd: Captured
) -> None:
    (tmp_path / "serving" / LOG_NAME).mkdir(parents=True)
    assert main([*words, "--model", str(model), "--serving-dir", f"{tmp_path}/serving"]) == 1
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("tfx-mnist: cannot read what was decided and withdrawn from ")
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize("flag", ["--model", "--baseline"])
def test_a_path_that_is_no_text_is_refused(
    flag: str, words: list[str], root: Path, capfd: Captured
) -> None:
    given = {"--model": "model", "--baseline": "model", flag: "model-\udcff"}
    assert main([*words, *(word for pair in given.items() for word in pair)]) == 2
    line = rf"{flag} is model-\udcff, expected text in UTF-8: TensorFlow takes no other"
    assert capfd.readouterr().err == f"tfx-mnist: {line}\n"
    assert not root.exists()


@pytest.mark.once  # test_servers.py has the error of TensorFlow
def test_a_model_that_there_is_no_memory_for_is_not_decided_on_and_ends_with_1(
    words: list[str], root: Path, tmp_path: Path
) -> None:
    large = save_function(tmp_path / "large", without_end, images(12, 12))
    # Without oneDNN the allocator does not try again for 10 s.
    done = process([*words, "--model", str(large)], {"TF_ENABLE_ONEDNN_OPTS": "0"})
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert f"the model {large} could not be asked, which says nothing about it: " in done.stderr
    assert not list(root.rglob(LOG_NAME))
