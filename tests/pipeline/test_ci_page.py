"""The jobs of docs/ci.md: their commands, as they stand, on predictions of scikit-learn."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

PAGE = Path(__file__).parents[2] / "docs" / "ci.md"
PREDICT = """
import csv
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

x, y = load_digits(return_X_y=True)
for name, strength in (("candidate", {candidate}), ("served", 1.0)):
    model = LogisticRegression(C=strength, max_iter=5000).fit(x[:900] / 16, y[:900])
    with open(f"{{name}}.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label", *(f"p_{{digit}}" for digit in model.classes_)])
        for row in range(900, 1797):
            (answer,) = model.predict_proba(x[row : row + 1] / 16)
            writer.writerow([row, y[row], *answer])
"""


def block(start: str) -> str:
    """The YAML on the page that begins with this line."""
    (text,) = re.findall(
        rf"^```yaml\n({re.escape(start)}\n.*?)^```$", PAGE.read_text(), re.M | re.S
    )
    return text


def github() -> list[str]:
    (job,) = yaml.safe_load(block("# .github/workflows/gate.yml"))["jobs"].values()
    return [step["run"] for step in job["steps"] if "run" in step]


def gitlab() -> list[str]:
    return yaml.safe_load(block("# .gitlab-ci.yml"))["gate"]["script"]


@pytest.fixture
def shell(tmp_path: Path) -> Callable[[str], int]:
    """Runs a command of a job, in one directory, and returns its exit code."""
    environment: Mapping[str, str] = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "GATE_DIR": str(tmp_path / "shared"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }

    def run(command: str) -> int:
        words = ["bash", "-e", "-o", "pipefail", "-c", command]
        return subprocess.run(words, cwd=tmp_path, env=environment, stdout=sys.stderr).returncode

    return run


@pytest.mark.once  # `gate check` imports no library of TFX
# Both ask the gate in the same words, as the last test here says.
@pytest.mark.parametrize(
    ("commands", "strength", "code"), [(github, "0.00001", 3), (gitlab, "1.0", 0)]
)
def test_the_jobs_gate_a_pull_request(
    commands: Callable[[], list[str]],
    strength: str,
    code: int,
    shell: Callable[[str], int],
    tmp_path: Path,
) -> None:
    (tmp_path / "predict.py").write_text(PREDICT.format(candidate=strength))
    (tmp_path / "gate.yaml").write_text(block("# gate.yaml"))
    predict, gate, *others = commands()
    assert shell(predict) == 0
    assert shell(gate) == code
    assert [shell(command) for command in others] == [0] * len(others)
    suite = ElementTree.parse(tmp_path / "gate.xml").getroot()[0]
    assert (int(suite.get("failures")) > 0) == (code == 3)
    table = (tmp_path / ("summary.md" if others else "gate.md")).read_text()
    assert table.startswith(f"### gate check: {'refused' if code else 'passed'}, ")
    assert (tmp_path / "shared" / ".decisions.jsonl").is_file()


def test_both_jobs_ask_the_same() -> None:
    words = [" ".join(jobs()[1].replace("\\\n", "").split()) for jobs in (github, gitlab)]
    assert words[0] == words[1]
