import dataclasses
import datetime
import re
from pathlib import Path

from pipeline import records
from pipeline.records import RunRecord
from pipeline.report import index
from tests.pipeline.report.runs import FAILED_RUN, REFUSED_RUN, RELEASED_RUN
from tests.pipeline.report.test_report import Page


def record(day: int, outcome: str = "released", **fields: object) -> RunRecord:
    began = datetime.datetime(2026, 11, day, 10, 15, tzinfo=datetime.timezone.utc)
    values = {"dataset": "pets", "accuracy": 0.97, "version": day, **fields}
    return RunRecord(f"202611{day:02}T101500Z-3f2a", began, outcome, **values)  # type: ignore[arg-type]


def test_all_runs_are_listed_the_newest_first_with_links(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    for day, run in enumerate((RELEASED_RUN, REFUSED_RUN, FAILED_RUN), start=20):
        run_id = f"202611{day}T101500Z-3f2a"
        records.write(dataclasses.replace(run, run_id=run_id), tmp_path / "reports")
        (tmp_path / "reports" / f"{run_id}.html").touch()
        (tmp_path / "logs" / f"{run_id}.log").touch()
    index.write(tmp_path)
    html = (tmp_path / "reports" / index.FILE).read_text()
    links = re.findall(r'href="([^"#]*)"', html)
    assert links == [
        "20261122T101500Z-3f2a.html",
        "../logs/20261122T101500Z-3f2a.log",
        "20261121T101500Z-3f2a.html",
        "../logs/20261121T101500Z-3f2a.log",
        "20261120T101500Z-3f2a.html",
    ]
    assert all((tmp_path / "reports" / link).exists() for link in links)
    page = Page(html)
    assert "script" not in page.tags
    text = page.text
    outcomes = re.findall(r"(failed|refused|released) \S+3f2a [-\d]+ [:\d]+ pets", text)
    assert outcomes == ["failed", "refused", "released"]
    assert FAILED_RUN.error in text


def test_names_of_others_are_escaped() -> None:
    foul = "<script>\x1b[2J"
    html = index.render([record(1, dataset=foul, reason=foul), record(2, foul)])
    assert "<script>" not in html
    assert "\x1b" not in html
    assert html.count(r"&lt;script&gt;\x1b[2J") >= 4


def test_the_picture_marks_the_versions() -> None:
    unmeasured = record(4, "failed", accuracy=None, version=None)
    refused = record(3, "refused", accuracy=0.9, version=None)
    html = index.render([unmeasured, refused, record(2, "unchanged"), record(1)])
    (described,) = re.findall(r'<svg role="img" aria-label="(.*?)"', html)
    assert described == "Accuracy of 3 runs on pets; the last one has 0.9000"
    drawn = re.findall(r"<text[^>]*>(.*?)</text>", html)
    assert "1" in drawn
    assert "2" not in drawn


def test_a_held_run_is_neither_released_nor_refused() -> None:
    html = index.render([record(1, "held", version=None)])
    assert '<td class="good">held</td>' in html
    assert "var(--bad)" not in html.partition("<svg")[2].partition("</svg>")[0]


def test_the_picture_marks_the_version_of_an_approved_run() -> None:
    html = index.render([record(2, "unchanged"), record(1, "held")])
    drawn = re.findall(r"<text[^>]*>(.*?)</text>", html)
    assert "1" in drawn
    assert "2" not in drawn


def test_each_data_set_has_a_picture_of_its_last_60_runs() -> None:
    many = [record(1 + number % 27) for number in range(70)]
    html = index.render([record(28, dataset="mnist"), *many])
    assert re.findall(r'aria-label="(Accuracy of \d+ runs? on \w+)', html) == [
        "Accuracy of 1 run on mnist",
        "Accuracy of 60 runs on pets",
    ]
    assert "the newest on the right, at most 60 of a data set." in Page(html).text


def test_of_no_runs_there_is_a_page(tmp_path: Path) -> None:
    index.write(tmp_path)
    assert "No run yet" in Page((tmp_path / "reports" / index.FILE).read_text()).text


def test_runs_of_one_day_are_told_apart_by_the_time() -> None:
    first = record(1)
    later = dataclasses.replace(first, started=first.started + datetime.timedelta(hours=1))
    assert times_in(index.render([later, first])) == ["10:15", "11:15"]
    assert times_in(index.render([record(2), first])) == ["11-01", "11-02"]


def times_in(html: str) -> list[str]:
    texts = re.findall(r"<text[^>]*>(.*?)</text>", html)
    return [text for text in texts if re.fullmatch(r"\d\d[:-]\d\d", text)]
