"""The page as a browser reads it."""

import dataclasses
import re
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

from components.gate.check import Check
from components.gate.evidence import Evidence, Tally
from pipeline.report import charts, render, write
from pipeline.result import RunResult
from tests.pipeline.report.runs import (
    COMPARED,
    FAILED_RUN,
    FIRST_RUN,
    HELD_RUN,
    REFUSED_RUN,
    RELEASED_RUN,
    RUNS,
    SEEN_RUN,
)

pytestmark = pytest.mark.once  # test_execution.py shows a run, with its curves, on both

_VOID = {"meta", "link", "img", "br", "hr", "input", "source"}
_LOADING = {"script", "link", "iframe", "object", "embed", "source"}


class Page(HTMLParser):
    """Holds every tag closed, and collects texts and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.led_to: set[str] = set()  # what src and href hold
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        self.led_to.update(value for name, value in attrs if name in ("src", "href"))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        """All of it, white space as a browser shows it."""
        return " ".join(" ".join(self.texts).split())


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
def test_what_others_wrote_is_on_the_page_without_its_control_characters(run: RunResult) -> None:
    foul = "\x1b[2J\r\n<b>\x00\u202e\udcff"
    checks = (Check(f"class.{foul}", False, foul, foul, foul), *run.checks)
    dataset = {**(run.dataset or {"digest": ""}), "name": foul}
    html = render(dataclasses.replace(run, dataset=dataset, checks=checks, error=foul))
    html.encode("utf-8")
    assert r"\x1b[2J\r\n&lt;b&gt;\x00\u202e\udcff" in html
    assert [one for one in html if not one.isprintable() and one != "\n"] == []
    assert Page(html).text.count(r"\x1b[2J\r\n<b>\x00\u202e\udcff") >= 5


@pytest.fixture(scope="module", params=RUNS.values(), ids=RUNS.keys())
def rendered(request) -> tuple[RunResult, str]:
    return request.param, render(request.param)


def test_it_is_well_formed_and_has_all_checks_and_components(rendered) -> None:
    run, html = rendered
    page = Page(html)
    assert run.run_id in page.text
    for check in run.checks:
        assert check.name in page.texts
        assert check.sentence in page.texts
    for component in run.seconds:
        assert component in page.texts


def test_it_loads_nothing(rendered) -> None:
    _, html = rendered
    page = Page(html)
    assert not page.tags & _LOADING
    assert not page.attributes & {"onclick", "onload"}
    links = (*("data:image/png;base64,", "#"), "index.html")  # the page of all runs, beside it
    assert all(one.startswith(links) for one in page.led_to)
    assert not any(word in html for word in ("http:", "https:", "@import"))
    assert set(re.findall(r"url\((.)", html)) <= {"#"}  # of SVG, within the page


def test_texts_are_escaped() -> None:
    html = render(FAILED_RUN)
    assert "<script>" not in html
    assert f"Failed: {FAILED_RUN.error}" in Page(html).texts
    assert "class <dog>" in Page(render(RELEASED_RUN)).texts


def test_failures_come_first() -> None:
    texts = Page(render(REFUSED_RUN)).texts
    order = ["Failed checks", "floor", "Accuracy", "Run", "integrity.rows"]
    assert sorted(order, key=texts.index) == order


def test_a_release_says_what_it_was_compared_with_and_how() -> None:
    text = Page(render(RELEASED_RUN)).text
    assert "Released: version 3 is served." in text
    assert "Compared with version 2." in text
    # (8 - 12) / 1000, and 970 + 12 - 8 of 1,000
    said = "8 gained and 12 lost: -0.40 points; the baseline's accuracy on these images is 97.40 %"
    assert said in text
    assert "97.00 %: 30 errors in 1,000 test images" in text
    assert "Decisions on this test split 3 (planned for: 10)" in text
    assert "Split train 5,000 images" in text
    assert "ExampleGen 1.0 cached" in text
    assert "Log root/logs/20261124T101500Z-3f2a.log" in text


def test_the_line_beside_classes_is_the_floor_that_they_are_held_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = []
    monkeypatch.setattr(charts, "intervals", lambda groups, floor: lines.append(floor) or "")
    html = render(RELEASED_RUN)
    assert lines == [RELEASED_RUN.policy.class_floor] != [RELEASED_RUN.policy.floor]
    assert "Dashed is the class floor" in Page(html).text


def test_a_held_run_says_how_to_decide_and_where_it_is_said_that_somebody_has() -> None:
    text = Page(render(HELD_RUN)).text
    decide = "approve 20261124T101500Z-3f2a --serving-dir 'my root/serving/pets' --by NAME"
    assert decide in text
    assert "tfx-mnist runs says whether somebody has" in text
    assert "own policy: gate.floor. Reason: few images" in text


def test_a_run_that_broke_after_its_release_is_not_shown_as_good() -> None:
    html = render(dataclasses.replace(RELEASED_RUN, error="after version 3 was released: no space"))
    assert '<h1 class="bad">Failed: after version 3' in html


def test_it_says_what_the_model_was_trained_with() -> None:
    assert "epochs 4, learning_rate 0.005, units 64" in Page(render(SEEN_RUN)).text


def test_a_first_release_speaks_of_no_comparison() -> None:
    text = Page(render(FIRST_RUN)).text
    assert "There is no baseline to compare with." in text
    assert "Gained" not in text
    assert "counted from this model itself, as measured" in text


def test_the_power_is_said_in_a_sentence() -> None:
    assert (
        "is refused with a probability of 80 %. A smaller loss" in Page(render(RELEASED_RUN)).text
    )
    # 30 errors of 1,000 beside a floor of 99 %: nobody needs a loss to be refused.
    # Other checks of the same images refuse some more.
    refused = "even a model that loses nothing is refused with a probability of at least "
    assert refused in Page(render(REFUSED_RUN)).text
    # A lower bound is rounded down: "at least > 99 %" and "at least < 1 %" are none.
    for run in (RELEASED_RUN, REFUSED_RUN):
        assert re.search(r"refused with a probability of at least \d+ %\.", Page(render(run)).text)


def test_an_error_is_as_hot_as_it_is_frequent() -> None:
    cells = re.findall(r'"error" style="--heat: (.*?)">\n?(\d+)', render(RELEASED_RUN))
    assert cells == [("0.45", "10"), ("0.75", "20")]  # 20 is the most frequent


@pytest.mark.parametrize(
    ("confusion", "shown"), [((), False), (((500, 0), (0, 500)), True)], ids=["none", "no error"]
)
def test_a_matrix_is_shown_where_one_was_counted(confusion: tuple, shown: bool) -> None:
    evidence = dataclasses.replace(COMPARED, confusion=confusion)
    html = render(dataclasses.replace(RELEASED_RUN, evidence=evidence))
    assert ("Confusion matrix" in html) == shown
    assert 'class="error"' not in html


def test_of_many_classes_the_most_frequent_errors_stand_in_place_of_the_matrix() -> None:
    classes = {f"c{i}": Tally(100, 100 - i % 50) for i in range(101)}
    matrix = [[0] * 101 for _ in classes]
    for i in range(101):
        matrix[i][i] = 100 - i % 50
        matrix[i][(i + 1) % 101] = i % 50
    confusion = tuple(map(tuple, matrix))
    evidence = dataclasses.replace(COMPARED, classes=classes, confusion=confusion)
    html = render(dataclasses.replace(RELEASED_RUN, evidence=evidence))
    text = Page(html).text
    assert "Confusion matrix" not in text
    assert "40 of 98 pairs of a label and a wrong prediction" in text  # c0, c50 and c100 have none
    assert '<tr><td>c49</td><td>c50</td><td class="number">49</td></tr>' in html
    assert "<td>c30</td><td>c31</td>" in html  # 49 to 30, of two classes each, are 40
    assert "<td>c29</td><td>c30</td>" not in html
    assert len(html) < 400_000  # 10,201 cells would take 240,000 more


@pytest.mark.parametrize(("count", "listed"), [(20, False), (21, True)])
def test_of_more_classes_than_fit_a_sheet_the_errors_are_listed_as_well(
    count: int, listed: bool
) -> None:
    classes = {f"c{i}": Tally(100, 99) for i in range(count)}
    confusion = tuple(
        tuple(99 if i == j else int(j == (i + 1) % count) for j in range(count))
        for i in range(count)
    )
    evidence = dataclasses.replace(COMPARED, classes=classes, confusion=confusion)
    text = Page(render(dataclasses.replace(RELEASED_RUN, evidence=evidence))).text
    assert "Confusion matrix" in text
    assert ("Most frequent errors" in text) == listed


def test_a_failure_before_any_measurement_has_no_empty_sections() -> None:
    text = Page(render(FAILED_RUN)).text
    assert "The run ended before any check was made." in text
    for section in ("Accuracy", "Confusion matrix", "Power"):
        assert section not in text


def test_it_is_written_whole_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "reports" / "r.html"
    write(RELEASED_RUN, path)
    assert path.read_text(encoding="utf-8") == render(RELEASED_RUN)
    assert list(path.parent.iterdir()) == [path]


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    path.mkdir()  # nothing is renamed over a directory
    with pytest.raises(OSError, match="directory"):
        write(RELEASED_RUN, path)
    assert list(tmp_path.iterdir()) == [path]


def test_the_page_for_mnist_takes_less_than_a_second() -> None:
    tally = Tally(1000, 985, lost=5, gained=6)
    evidence = Evidence(
        overall=Tally(10_000, 9_850, lost=50, gained=60),
        classes={str(digit): tally for digit in range(10)},
        slices={},
        cross_entropy=0.05,
        top_2_accuracy=1.0,
        compared=True,
    )
    run = dataclasses.replace(RELEASED_RUN, evidence=evidence)
    start = time.process_time()
    assert "class 9" in Page(render(run)).texts
    assert time.process_time() - start < 1.0


def test_a_slice_without_images_is_not_counted_among_those_that_are_not_drawn() -> None:
    evidence = dataclasses.replace(COMPARED, slices={"site=(other)": Tally(0, 0)})
    page = Page(render(dataclasses.replace(RELEASED_RUN, evidence=evidence)))
    assert "site=(other)" in page.text
    assert "lowest are drawn" not in page.text
