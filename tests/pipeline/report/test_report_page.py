"""The script of docs/report.md that finds the file of a picture, as it stands."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PAGE = Path(__file__).parents[3] / "docs" / "report.md"


def test_the_digits_of_a_picture_lead_to_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (script,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    folder = tmp_path / "photos" / "cat"
    folder.mkdir(parents=True)
    Image.fromarray(pixels).save(folder / "as_seen.png")
    Image.fromarray(pixels).resize((80, 40)).save(folder / "resized.jpg")
    monkeypatch.chdir(tmp_path)
    exec(script, {})
    first, second = (line.split() for line in capsys.readouterr().out.splitlines())
    shape = np.array([64, 64, 3], "<i8").tobytes()
    digits = hashlib.sha256(shape + pixels.tobytes()).hexdigest()[:8]
    assert first == [digits, "photos/cat/as_seen.png"]
    assert second[1] == "photos/cat/resized.jpg"
