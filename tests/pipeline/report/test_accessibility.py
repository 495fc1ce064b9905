"""What the pages owe to people who see little or nothing, or use no mouse: WCAG 2.1, level AA."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipeline import report
from pipeline.report import index, render
from pipeline.result import RunResult
from tests.pipeline.report.drifted import write_drift
from tests.pipeline.report.runs import RUNS
from tests.pipeline.report.test_index import record

STYLE = (Path(report.__file__).parent / "style.css").read_text("utf-8")


class Outline(HTMLParser):
    """Collects the elements, with their attributes and texts."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[int] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))
        if tag not in ("meta", "img", "br"):
            self._open.append(len(self.elements) - 1)

    def handle_endtag(self, tag):
        self._open.pop()

    def handle_data(self, data):
        for at in self._open:
            self.elements[at][2].append(data)

    def all(self, *tags: str) -> list[tuple[dict[str, str | None], str]]:
        return [(given, "".join(said).strip()) for tag, given, said in self.elements if tag in tags]


def check(page: str) -> None:
    outline = Outline(page)
    assert outline.all("html")[0][0]["lang"] == "en"
    (title,), (main,), (body,) = map(outline.all, ("title", "main", "body"))
    assert title[1]
    assert main[1] == body[1]  # all of it
    levels = [int(tag[1]) for tag, *_ in outline.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[:1] == [1]
    assert set(levels[1:]) <= {2}
    assert all(given["alt"] for given, _ in outline.all("img"))
    assert all(given["role"] == "img" and given["aria-label"] for given, _ in outline.all("svg"))
    assert all(said and given["scope"] for given, said in outline.all("th"))
    assert all(said for _, said in outline.all("a"))
    wide = [given for given, _ in outline.all("div") if "wide" in (given.get("class") or "")]
    assert all((one["role"], one["tabindex"]) == ("group", "0") for one in wide)  # it may scroll
    assert all(one["aria-label"] for one in wide)
    ids = [given["id"] for _, given, _ in outline.elements if "id" in given]
    assert len(ids) == len(set(ids))
    assert len(outline.all("figure")) == len(re.findall(r"</figcaption>\s*</figure>", page))


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
def test_a_report(run: RunResult) -> None:
    check(render(run))


def test_the_page_of_all_runs() -> None:
    check(index.render([record(2, "refused", version=None), record(1)]))
    check(index.render([]))


def test_the_page_of_monitor(tmp_path: Path) -> None:
    write_drift(tmp_path / "drift.html")
    check((tmp_path / "drift.html").read_text("utf-8"))


def schemes() -> list[dict[str, tuple[int, ...]]]:
    """Returns the colours of light, dark and print, 0..255."""
    found = [
        dict(re.findall(r"--([\w-]+): ([^;]+);", block))
        for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    ]
    assert len(found) == 3
    return [{name: rgb(value) for name, value in {**found[0], **one}.items()} for one in found]


def rgb(value: str) -> tuple[int, ...]:
    if not value.startswith("#"):
        return tuple(map(int, value.split()))
    digits = value[1:] if len(value) == 7 else "".join(2 * digit for digit in value[1:])
    return tuple(bytes.fromhex(digits))


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: tuple[float, ...]) -> float:
    parts = [part / 255 for part in colour]
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


@pytest.mark.parametrize("scheme", schemes(), ids=["light", "dark", "print"])
def test_texts_stand_out_from_their_ground(scheme: dict[str, tuple[int, ...]]) -> None:
    for ground in ("page", "stripe"):
        for text in ("text", "soft", "good", "bad", "first"):
            assert contrast(scheme[text], scheme[ground]) >= 4.5, (text, ground)
    assert contrast(scheme["second"], scheme["page"]) >= 3  # lines of a picture
    hottest = tuple(
        0.75 * heat + 0.25 * page  # what page.html gives the most frequent error
        for heat, page in zip(scheme["heat-rgb"], scheme["page"], strict=True)
    )
    assert contrast(scheme["text"], hottest) >= 4.5
