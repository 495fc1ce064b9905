import re
import warnings

from components.pictures import Bin
from pipeline.report import charts
from tests.pipeline.report.runs import SEEN_RUN

GROUPS = [("class cat", 0.9, 0.95, 0.98, "passed"), ("class <dog>", 0.5, 0.6, 0.7, "failed")]


def test_a_picture_takes_its_colours_from_the_page_and_loads_nothing() -> None:
    for drawn in (
        charts.learning_curve(SEEN_RUN.history, "loss"),
        charts.reliability([Bin(3, 0.5, 0.4)], 0.1),
        charts.intervals(GROUPS, 0.9),
        charts.accuracy_over_time([("11-24", 0.9, "released", "1")], "one run"),
    ):
        assert drawn.startswith('<svg role="img" aria-label="')
        assert "var(--text)" in drawn
        assert re.findall(r"#[0-9a-f]{6}\b", drawn) == []
        assert "http" not in drawn
        assert "<style" not in drawn


def test_the_text_says_what_the_picture_shows() -> None:
    assert "over 12 epochs: it ends at 0.0833 on train and at 0.0667 on eval" in (
        charts.learning_curve(SEEN_RUN.history, "loss")
    )
    assert "the lowest is class &lt;dog&gt; with 0.6000" in charts.intervals(GROUPS, None)


def test_a_learning_curve_names_its_axes() -> None:
    for name, axis in (("loss", "loss, nats"), ("accuracy", "accuracy")):
        texts = re.findall(
            r"<text[^>]*>(.*?)</text>", charts.learning_curve(SEEN_RUN.history, name)
        )
        assert {"epoch", axis, "train", "eval"} <= set(texts)


def test_no_accuracy_above_100_percent_is_drawn() -> None:
    drawn = charts.accuracy_over_time([("11-24", 1.0, "released", "1")], "one run")
    marked = [float(one) for one in re.findall(r"<text[^>]*>([0-9.]+) %</text>", drawn)]
    assert (max(marked), len(marked) > 2) == (100, True)


def test_names_are_texts_and_nothing_else() -> None:
    foul = "class $x^2$ <b>\x1b é 象" + "long " * 20
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = charts.intervals([(foul, 0.1, 0.2, 0.3, "passed")], None)
    assert r"class $x^2$ &lt;b&gt;\x1b é 象" in drawn
    assert re.search(r"象.*…ong ?</text>", drawn)


def test_long_names_that_differ_at_the_end_are_told_apart() -> None:
    names = [f"Arion vulgaris, dorsal view, flash {number}" for number in range(2)]
    drawn = charts.intervals([(name, 0.1, 0.2, 0.3, "passed") for name in names], None)
    assert len(set(re.findall(r">(Arion.*?)</text>", drawn))) == 2


def test_the_same_picture_has_the_same_bytes() -> None:
    assert charts.intervals(GROUPS, 0.9) == charts.intervals(GROUPS, 0.9)
