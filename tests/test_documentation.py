"""The Markdown pages: that their links lead somewhere, and a script of theirs."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])


def without_code(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchors(page: Path) -> set[str]:
    """Those that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", without_code(page), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> Iterator[str]:
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page)):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if re.match(r"https?://", link):
            continue
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_of_the_documentation_lead_somewhere(page: Path) -> None:
    assert list(broken_links(page)) == []


@pytest.fixture
def model_and_predictions(tmp_path: Path) -> Path:
    """The folder in which the script of docs/gate-check.md runs."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_text("weights")
    labels = np.arange(400) % 2
    np.save(tmp_path / "labels.npy", labels)
    np.save(tmp_path / "candidate.npy", np.eye(2)[labels] * 0.9 + 0.05)  # 0.95 for the label
    return tmp_path


def script_of(page: str, heading: str) -> str:
    """The Python script below a heading."""
    text = (ROOT / "docs" / page).read_text("utf-8").partition(f"\n## {heading}\n")[2]
    match = re.search(r"^```python\n(.*?)^```$", text, re.M | re.S)
    assert match
    return match[1]


def test_the_script_that_decides_from_python_publishes(model_and_predictions: Path) -> None:
    script = script_of("gate-check.md", "From Python")
    unused = "\nimport sys\nassert not {'tensorflow', 'tfx'} & sys.modules.keys()\n"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script + unused]
    subprocess.run(command, cwd=model_and_predictions, env=environment, check=True)
    manifest = json.loads((model_and_predictions / "serving/1/manifest.json").read_text())
    assert manifest["release"]["metrics"]["accuracy"] == 1.0
    # A model that is no better than chance is refused.
    np.save(model_and_predictions / "candidate.npy", np.full((400, 2), 0.5))
    np.save(model_and_predictions / "baseline.npy", np.load(model_and_predictions / "labels.npy"))
    (model_and_predictions / "model" / "saved_model.pb").write_text("others")
    said = subprocess.run(
        command, cwd=model_and_predictions, env=environment, check=True, capture_output=True
    )
    assert b"accuracy 0.5000; its " in said.stdout
    assert not (model_and_predictions / "serving/2").exists()


def test_files_of_tests_that_the_documentation_names_exist() -> None:
    named = {
        name
        for page in PAGES
        for name in re.findall(r"[\w/]*test_\w+\.py", page.read_text("utf-8"))
    }
    files = [path.as_posix() for path in (ROOT / "tests").rglob("test_*.py")]
    assert {
        name for name in named if not any(f"/{file}".endswith(f"/{name}") for file in files)
    } == set()
