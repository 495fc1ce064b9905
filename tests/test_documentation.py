"""The Markdown pages: that their links lead somewhere, and scripts of theirs."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet
import pytest

from components.example_gen.folder import list_folder

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


def scripts_of(page: str, heading: str) -> list[str]:
    """The Python scripts below a heading, up to the next one of the second level."""
    text = (ROOT / "docs" / page).read_text("utf-8").partition(f"# {heading}\n")[2]
    return re.findall(r"^```python\n(.*?)^```$", text.partition("\n## ")[0], re.M | re.S)


def test_the_script_that_decides_from_python_publishes(model_and_predictions: Path) -> None:
    (script,) = scripts_of("gate-check.md", "From Python")
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


def test_the_scripts_that_take_images_out_of_one_file_make_folders(tmp_path: Path) -> None:
    pixels = np.zeros((3, 28, 28, 3), np.uint8)
    labels = np.array([[0], [1], [1]])
    arrays = {"images": pixels, "labels": labels}
    splits = {f"{split}_{name}": arrays[name] for split in ("train", "test") for name in arrays}
    np.savez(tmp_path / "bloodmnist.npz", **splits)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels[0]).save(file, "png")
    picture = {"bytes": file.getvalue(), "path": "7.png"}
    table = pa.table({"image": [picture] * 3, "label": [0, 1, 1]})
    for split in ("train", "test"):
        pyarrow.parquet.write_table(table, tmp_path / f"{split}-00000-of-00001.parquet")
    for script in scripts_of("your-images.md", "Images inside one file"):
        subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    for name in ("bloodmnist", "digits"):
        listing = list_folder(tmp_path / name)
        assert listing.class_names == ("0", "1")
        assert np.bincount(listing.labels).tolist() == [2, 4]


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
