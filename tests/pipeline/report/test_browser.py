"""The pages in a real browser: Chromium, where it is installed (`apt-get install chromium`)."""

import dataclasses
import html
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.gate.check import Check
from components.gate.evidence import Tally
from pipeline import records
from pipeline.report import index, render
from tests.pipeline.report.drifted import write_drift
from tests.pipeline.report.runs import COMPARED, REFUSED_RUN, RELEASED_RUN, SEEN_RUN
from tests.pipeline.report.test_index import record

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH"),
    pytest.mark.slow,
    pytest.mark.once,
]
DESKTOP, PHONE = (1280, 900), (390, 844)
# Holds a page in a frame of that width, since a window has 500 pixels at least, and says how wide
# the page became.
FRAME = """<!DOCTYPE html><title></title><iframe style="width: {width}px; border: 0" srcdoc="{page}"
onload="document.title = this.contentDocument.documentElement.scrollWidth"></iframe>"""


@dataclasses.dataclass(frozen=True)
class Browser:
    """A headless browser without a network."""

    profile: Path

    def __call__(self, file: Path, size: tuple[int, int], *words: str) -> str:
        done = subprocess.run(
            [
                str(CHROMIUM),
                *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                "--disable-dev-shm-usage",
                "--host-resolver-rules=MAP * ~NOTFOUND",
                f"--user-data-dir={self.profile}",
                f"--window-size={size[0]},{size[1]}",
                *words,
                file.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
        return done.stdout

    def screenshot(self, file: Path, size: tuple[int, int], *, dark: bool = False) -> np.ndarray:
        """The page's upper part, [H, W, 3] uint8."""
        picture = file.with_suffix(f".{size[0]}{'.dark' if dark else ''}.png")
        scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
        self(file, size, f"--screenshot={picture}", *scheme)
        return np.asarray(Image.open(picture).convert("RGB"))

    def dom(self, file: Path, size: tuple[int, int]) -> str:
        return self(file, size, "--dump-dom")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    return Browser(tmp_path_factory.mktemp("profile"))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pages")
    for day, run in enumerate((SEEN_RUN, REFUSED_RUN), start=20):
        run_id = f"202611{day}T101500Z-3f2a"
        records.write(dataclasses.replace(run, run_id=run_id), root / "reports")
    index.write(root)
    report = root / "reports" / "20261120T101500Z-3f2a.html"
    report.write_text(render(SEEN_RUN), encoding="utf-8")
    drift = root / "drift.html"
    write_drift(drift)
    return {"report": report, "index": root / "reports" / index.FILE, "drift": drift}


@pytest.mark.parametrize("name", ["report", "drift"])
def test_a_page_is_light_or_dark_as_the_user_has_it(
    browser: Browser, pages: dict, name: str
) -> None:
    light = browser.screenshot(pages[name], DESKTOP)
    dark = browser.screenshot(pages[name], DESKTOP, dark=True)
    assert light.shape == dark.shape == (DESKTOP[1], DESKTOP[0], 3)
    assert np.median(light) > 240  # the ground
    assert np.median(dark) < 40
    for picture in (light, dark):
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


@pytest.mark.parametrize("name", ["report", "index", "drift"])
def test_a_phone_need_not_scroll_sideways(browser: Browser, pages: dict, name: str) -> None:
    framed = pages[name].with_suffix(".framed.html")
    page = html.escape(pages[name].read_text("utf-8"))
    framed.write_text(FRAME.format(width=PHONE[0], page=page), encoding="utf-8")
    match = re.search(r"<title>(\d+)</title>", browser.dom(framed, DESKTOP))
    assert match is not None
    assert int(match[1]) == PHONE[0]


@pytest.mark.parametrize("width", [500, 1024])
def test_the_reasons_of_runs_on_a_set_of_ones_own_stand_in_the_window(
    browser: Browser, tmp_path: Path, width: int
) -> None:
    why = "floor: accuracy 0.2746; its 99.55 % lower bound 0.1827 misses the floor 0.9000: look at"
    run = record(1, "refused", dataset="folder_photos_dc12eeae", version=None, reason=why)
    page = index.render([run, record(2, "unchanged", dataset=run.dataset)])
    wide = "document.querySelector('.runs').parentElement"
    path = tmp_path / "index.html"
    script = f"<script>document.title = {wide}.scrollWidth - {wide}.clientWidth</script>"
    path.write_text(f"{page}{script}", encoding="utf-8")
    assert "<title>0</title>" in browser.dom(path, (width, 768))


@pytest.mark.parametrize(
    ("count", "name"),
    [
        (10, "Arion vulgaris, adult, dorsal view, flash"),
        (2, "Arion_vulgaris_adult_dorsal_view_with_flash_on_a_leaf_of_lettuce_in_the_rain"),
    ],
)
def test_classes_of_long_names_fit_the_page(
    browser: Browser, tmp_path: Path, count: int, name: str
) -> None:
    names = [f"{name} {number}" for number in range(count)]
    evidence = dataclasses.replace(
        COMPARED,
        classes=dict.fromkeys(names, Tally(100, 97)),
        confusion=tuple(tuple(97 if i == j else 0 for j in range(count)) for i in range(count)),
    )
    checks = (*RELEASED_RUN.checks, Check(f"class.{name}", True, 0.97, 0.85, f"class {name}: 0.97"))
    page = render(dataclasses.replace(RELEASED_RUN, evidence=evidence, checks=checks))
    widths = "[...document.querySelectorAll('.wide')].map(one => one.scrollWidth - one.clientWidth)"
    path = tmp_path / "page.html"
    path.write_text(f"{page}<script>document.title = {widths}</script>", encoding="utf-8")
    match = re.search(r"<title>([0-9,]+)</title>", browser.dom(path, DESKTOP))
    assert match is not None
    assert set(match[1].split(",")) == {"0"}


def test_the_labels_of_a_wide_confusion_matrix_stay_when_it_is_scrolled(
    browser: Browser, tmp_path: Path
) -> None:
    names = [f"class {number}" for number in range(60)]
    evidence = dataclasses.replace(
        COMPARED,
        classes=dict.fromkeys(names, Tally(100, 97)),
        confusion=tuple(tuple(97 if i == j else 0 for j in range(60)) for i in range(60)),
    )
    page = render(dataclasses.replace(RELEASED_RUN, evidence=evidence))
    script = """
        const matrix = document.querySelector(".matrix"), wide = matrix.parentElement;
        wide.scrollLeft = 200;
        const left = one => Math.round(one.getBoundingClientRect().left);
        const label = matrix.querySelector("tbody th");
        document.title = [wide.scrollLeft, left(label) - left(wide)];
    """
    path = tmp_path / "page.html"
    path.write_text(f"{page}<script>{script}</script>", encoding="utf-8")
    assert "<title>200,0</title>" in browser.dom(path, DESKTOP)


REPORTED = (
    "Released: version 3 is served.",
    "Lost: 12 test images",
    "Likely label errors in train and eval",
    "Expected calibration error",
    "confidence: the highest probability",  # within a picture
)
DRIFTED = (
    "The requests are not like the test split of the release",
    "400 requests of version 3, 2 entries skipped.",
    "intensity drift intensity: the distributions are",
    "size drift size: the distributions are",
    "107x127 0.00 % 1",
)


@pytest.mark.parametrize(("name", "lines"), [("report", REPORTED), ("drift", DRIFTED)])
def test_the_browser_shows_what_was_written(
    browser: Browser, pages: dict, name: str, lines: tuple[str, ...]
) -> None:
    dom = browser.dom(pages[name], DESKTOP)
    text = re.sub(r"<[^>]*>", " ", re.sub(r"<style.*?</style>", "", dom, flags=re.DOTALL))
    for words in lines:
        assert words in " ".join(text.split())
    led_to = re.findall(r'(?:src|href)="(.*?)"', dom)
    assert all(one.startswith(("data:image/png;base64,", "#", "index.html")) for one in led_to)
    assert not re.search(r"https?://", dom)
