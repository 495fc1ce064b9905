"""The page of `tfx-mnist monitor`: the distributions, side by side."""

import re
from pathlib import Path

import pytest

from components.monitoring.counts import CONFIDENCE_EDGES, INTENSITY_BINS, Summary
from pipeline.report import monitoring

NAMES = ["cat", "<dog>", "owl"]
CONFIDENCE = tuple(3 if at == 4 else 1 if at == 5 else 0 for at in range(len(CONFIDENCE_EDGES) + 1))
INTENSITY = tuple(4 if at == 57 else 0 for at in range(INTENSITY_BINS))
RELEASED = Summary(4, (1, 3, 0), CONFIDENCE, INTENSITY, {"9x10": 2, "20x20": 2})
OBSERVED = Summary(
    8, (8, 0, 0), tuple(2 * rows for rows in CONFIDENCE), (8, *[0] * 199), {"100x100": 8}
)
FIELDS = {
    "serving_dir": "serving/pets",
    "version": 3,
    "requests": {"source": "requests", "rows": 8, "skipped": 0},
    "level": 0.05,
    "tolerance": 0.02,
    "drift": False,
    "tests": [],
    "left_out": [],
}


def rows_of(page: Path, released: Summary, observed: Summary) -> dict[str, list[tuple[str, ...]]]:
    """The rows of each picture: what they are of, and the two shares."""
    monitoring.write(page, FIELDS, released, observed, NAMES)
    _, *pictures = page.read_text("utf-8").split("Below: shares of the images")[1].split("<h2>")
    row = re.compile(r'<th scope="row">(.*?)</th><td class="number">(.*?)</td><td.*?>(.*?)</td>')
    return {text.partition("<")[0]: row.findall(text) for text in pictures}


def test_bins_with_images_are_shown_with_their_shares_then_and_now(tmp_path: Path) -> None:
    assert rows_of(tmp_path / "page.html", RELEASED, OBSERVED) == {
        "Predicted class": [("cat", "25.00 %", "100.00 %"), ("&lt;dog&gt;", "75.00 %", "0.00 %")],
        "Confidence: the largest probability": [
            ("from 0.25", "75.00 %", "75.00 %"),  # of the edges 0, 0.1, 0.15, 0.2, 0.25, 0.3
            ("from 0.3", "25.00 %", "25.00 %"),
        ],
        "Mean intensity of an image, 0 (black) to 1 (white)": [
            ("from 0", "0.00 %", "100.00 %"),
            ("from 0.285", "100.00 %", "0.00 %"),  # 57 / 200
        ],
        "Size: height and width in pixels": [  # by their areas
            ("9x10", "50.00 %", "0.00 %"),
            ("20x20", "50.00 %", "0.00 %"),
            ("100x100", "0.00 %", "100.00 %"),
        ],
    }


@pytest.mark.parametrize("known", [0, 1])
def test_without_the_images_of_either_predictions_alone_are_shown(
    tmp_path: Path, known: int
) -> None:
    of_predictions = Summary(4, (1, 3, 0), CONFIDENCE)
    pair = [of_predictions, of_predictions]
    pair[known] = RELEASED
    shown = rows_of(tmp_path / "page.html", *pair)
    assert list(shown) == ["Predicted class", "Confidence: the largest probability"]
