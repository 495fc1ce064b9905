"""A folder of image files of every format and of many sizes, from the disk to a prediction."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.e2e.runs import run_here, tfx_mnist

FORMATS = {"jpg": {"quality": 90}, "png": {}, "webp": {}, "gif": {}, "bmp": {}}


def draw(path: Path, seed: int, *, bright: str) -> None:
    """A grey picture of 16 to 40 pixels, brighter in its upper or lower half."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(16, 41, 2)
    pixels = rng.integers(20, 120, (height, width), np.uint8)
    half = slice(0, height // 2) if bright == "upper" else slice(height // 2, height)
    pixels[half] += 100
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **FORMATS[path.suffix[1:]])


@pytest.mark.e2e
def test_a_folder_of_mixed_images_becomes_a_model_that_takes_such_files(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    suffixes = sorted(FORMATS)
    for number, bright in enumerate(["upper", "lower"]):
        for image in range(200):
            name = f"{image:03d}.{suffixes[image % len(suffixes)]}"
            draw(tmp_path / "halves" / bright / name, 1000 * number + image, bright=bright)
    # Of train or of test, as its content has it: a likely label error there, a mistake here.
    draw(tmp_path / "halves" / "lower" / "is_upper.png", 9000, bright="upper")
    (tmp_path / "halves" / "lower" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    dataset = ("--dataset", f"folder:{tmp_path / 'halves'}")
    settings = ("data.image_size=24", "data.channels=1", "data.test_fraction=0.3", "gate.floor=0.8")
    arguments = [*dataset, *(part for each in settings for part in ("--set", each))]

    code, refused = run_here(capfd, tmp_path / "root", *arguments)
    assert code == 2
    assert "1 image cannot be read: lower/broken.jpg (" in refused["error"]

    code, result = run_here(capfd, tmp_path / "root", *arguments, "--set", "data.skip_unreadable=1")
    assert (code, result["outcome"]) == (0, "released"), json.dumps(result)
    assert result["dataset"]["name"].startswith("folder_halves_")
    assert ">lower/is_upper.png<" in Path(result["report"]).read_text()

    asked = [tmp_path / f"new.{suffix}" for suffix in suffixes]
    for number, path in enumerate(asked):
        draw(path, 5000 + number, bright="lower")
    command = [*dataset, "--pipeline-root", str(tmp_path / "root")]
    code, told = tfx_mnist(capfd, "predict", *command, *map(str, asked))
    answers = told["images"]
    assert code == 0
    assert [answer["class_name"] for answer in answers] == ["lower"] * len(asked)

    for number in range(150):
        name = f"{number}.{suffixes[number % len(suffixes)]}"
        bright = ("upper", "lower")[number % 2]
        draw(tmp_path / "requests" / name, 7000 + number, bright=bright)
    code, alike = tfx_mnist(capfd, "monitor", *command, "--requests", str(tmp_path / "requests"))
    assert code == 0
    assert (alike["requests"]["rows"], alike["requests"]["skipped"], alike["drift"]) == (
        150,
        0,
        False,
    )
