import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.served_graph import ServedGraph
from components.serving_check.classifier import Classifier
from components.serving_dir import publish, rollback
from pipeline.cli.main import main
from tests.components.serving_dir.samples import letter_model
from tests.pipeline import saved_models
from tests.pipeline.cli.test_monitor import record

Captured = pytest.CaptureFixture[str]

CLASSES = ("left", "right")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """One for images that are 4 pixels wide, one for 6."""
    folder = tmp_path_factory.mktemp("models")
    return {
        width: saved_models.save(folder / str(width), (2, width, 1), CLASSES) for width in (4, 6)
    }


@pytest.fixture
def serving(models: dict[int, Path], tmp_path: Path) -> Path:
    """The model for 6 pixels is version 1, that for 4 is live."""
    for width in (6, 4):
        publish(models[width], tmp_path / "serving", {"dataset": {"class_names": CLASSES}})
    return tmp_path / "serving"


@pytest.fixture
def images(tmp_path: Path) -> dict[int, str]:
    """By their width: images whose right half is lighter, of mean 51."""
    paths = {width: str(tmp_path / f"{width}.png") for width in (4, 6)}
    for width, path in paths.items():
        pixels = np.zeros((2, width), np.uint8)
        pixels[:, width // 2 :] = 51
        Image.fromarray(pixels).save(path)
    return paths


def _main(serving: Path, *words: str) -> int:
    return main(["predict", "--serving-dir", str(serving), *words])


def test_the_live_version_shows_its_probabilities(
    serving: Path, images: dict[int, str], capfd: Captured
) -> None:
    assert _main(serving, images[4]) == 0
    # exp(2) / (1 + exp(2)) = 0.8808
    assert capfd.readouterr() == (
        f"version 2 in {serving}/2\n{images[4]}: right\n  right   88.08 %\n  left    11.92 %\n",
        "",
    )


def test_json_holds_the_full_values(serving: Path, images: dict[int, str], capfd: Captured) -> None:
    assert _main(serving, images[4], "--json") == 0
    shown = capfd.readouterr()
    assert (shown.out.count("\n"), shown.err) == (1, "")
    fields = json.loads(shown.out)
    (image,) = fields.pop("images")
    assert fields == {"serving_dir": str(serving), "version": 2, "error": None}
    left, right = saved_models.probabilities([0, 51])
    assert image == {
        "path": images[4],
        "class_index": 1,
        "class_name": "right",
        "probabilities": [
            {"class_index": 1, "class_name": "right", "probability": pytest.approx(right)},
            {"class_index": 0, "class_name": "left", "probability": pytest.approx(left)},
        ],
        "error": None,
    }


def test_a_given_version_classifies_withdrawn_or_not(
    serving: Path, images: dict[int, str], capfd: Captured
) -> None:
    assert _main(serving, images[6], "--version", "1") == 0
    assert capfd.readouterr().out.startswith(f"version 1 in {serving}/1\n")
    rollback(serving)
    assert _main(serving, images[4], "--version", "2") == 0
    assert _main(serving, images[6]) == 0
    assert f"version 3 in {serving}/3\n" in capfd.readouterr().out


def test_images_that_are_refused_are_named_and_the_others_classified(
    serving: Path, images: dict[int, str], tmp_path: Path, capfd: Captured
) -> None:
    assert _main(serving, images[6], images[4], f"{tmp_path}/none.png") == 2
    shown = capfd.readouterr()
    assert f"{images[4]}: right\n" in shown.out
    lines = [
        f"{images[6]} is 6 pixels wide and 2 high, expected 4 and 2: scale it to 4x2",
        f"{tmp_path}/none.png cannot be read: No such file or directory; give another file",
    ]
    assert shown.err.splitlines() == [f"tfx-mnist: {line}" for line in lines]

    assert _main(serving, images[6], f"{tmp_path}/none.png", "--json") == 2
    shown = capfd.readouterr()
    fields = json.loads(shown.out)
    assert fields["error"] == "; ".join(lines)
    assert [sorted(image) for image in fields["images"]] == [["error", "path"]] * 2
    assert shown.err.splitlines() == [f"tfx-mnist: {line}" for line in lines]


def test_a_warning_of_a_library_is_no_error_whatever_the_environment_says(
    serving: Path, images: dict[int, str]
) -> None:
    words = ["predict", "--serving-dir", str(serving), images[4]]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *words],
        env={**os.environ, "PYTHONWARNINGS": "ignore::UserWarning,error"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        ([], 2, "IMAGE is missing; see tfx-mnist predict --help"),
        (["x", "--version", "live"], 2, "--version is 'live', expected a whole number"),
        (["x", "--version", "7"], 1, "there is no version 7 in SERVING: known are 1, 2"),
        (["x"], 1, "version 2 at SERVING/2 is damaged: file 'saved_model.pb' is"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    words: list[str], code: int, line: str, serving: Path, capfd: Captured
) -> None:
    (serving / "2" / "saved_model.pb").unlink()
    assert _main(serving, *words, "--json") == code
    shown = capfd.readouterr()
    error = json.loads(shown.out)["error"]
    assert error.startswith(line.replace("SERVING", str(serving)))
    assert shown.err == f"tfx-mnist: {error}\n"


def test_a_model_of_another_kind_ends_with_1(
    images: dict[int, str], tmp_path: Path, capfd: Captured
) -> None:
    publish(letter_model(tmp_path, "a"), tmp_path / "serving", {})
    assert _main(tmp_path / "serving", images[4]) == 1
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"tfx-mnist: the model {tmp_path}/serving/1 cannot be used, ")
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize(
    "words", [["predict", "images/image.png"], ["monitor", "--requests", "images"]]
)
def test_too_few_open_files_are_not_blamed_on_the_model(
    words: list[str], tmp_path: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = saved_models.save(tmp_path / "model", (2, 4, 1), CLASSES)
    publish(model, tmp_path / "serving", record(Classifier(model, CLASSES), np.zeros((9, 2, 4, 1))))
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((2, 4), np.uint8)).save(tmp_path / "images" / "image.png")
    monkeypatch.chdir(tmp_path)

    def without_files(directory: Path) -> ServedGraph:
        former = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, former[1]))
        try:
            return ServedGraph(directory)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, former)

    monkeypatch.setattr("components.serving_check.classifier.ServedGraph", without_files)
    assert main([*words, "--serving-dir", "serving"]) == 1
    line = capfd.readouterr().err
    assert "Too many open files" in line
    assert line.endswith("; raise `ulimit -n`, and give the same command again\n")


def test_verbose_shows_what_the_libraries_write(
    serving: Path, images: dict[int, str], capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    load = tf.compat.v1.saved_model.load

    def talkative(session: object, tags: object, path: str) -> object:
        tf.get_logger().warning("loading %s", path)
        return load(session, tags, path)

    monkeypatch.setattr(tf.compat.v1.saved_model, "load", talkative)
    assert _main(serving, images[4]) == 0
    assert capfd.readouterr().err == ""
    assert _main(serving, images[4], "--verbose") == 0
    assert f"loading {serving}/2" in capfd.readouterr().err
