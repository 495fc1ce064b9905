"""The words by which `.ci/run` chooses tests: one that names none would choose none, and pass."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_each_word_that_chooses_tests_is_in_the_name_of_one() -> None:
    chosen = re.findall(r"-k ['\"](.*?)['\"]", (ROOT / ".ci" / "run").read_text())
    words = set(re.findall(r"\w+", " ".join(chosen))) - {"not", "or"}
    assert "where_flink_restarts" in words
    tests = list((ROOT / "tests" / "e2e").glob("test_*.py"))
    code = "\n".join(path.read_text() for path in tests)
    names = [path.name for path in tests] + re.findall(r'def (test_\w+)|id="(\w+)"', code)
    assert {word for word in words if word not in str(names)} == set()
