import io
import sys

import pytest

from pipeline.cli import output

Captured = pytest.CaptureFixture[str]


def test_columns_are_aligned_and_the_last_one_is_not_cut() -> None:
    path = "a/very/long/path" * 20
    rows = [("version", "files", ""), ("1", "match", path), ("12", "damaged", "")]
    assert output.table(rows) == [
        "version  files",
        f"1        match    {path}",
        "12       damaged",
    ]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_951, "1.0 MB"),
        (1_432_611, "1.4 MB"),
        (5 * 10**15, "5000.0 TB"),
    ],
)
def test_a_size_reads_as_a_person_says_it(size: int, text: str) -> None:
    assert output.size(size) == text


def test_what_the_terminal_cannot_show_becomes_an_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    output.say(["caf\xe9 \udcff"])
    assert raw.getvalue() == b"caf\\xe9 \\udcff\n"


def test_a_failure_is_one_line_and_with_json_an_object(capsys: Captured) -> None:
    assert output.fail("no such thing", 2, {"error": "no such thing"}) == 2
    assert capsys.readouterr() == ('{"error": "no such thing"}\n', "tfx-mnist: no such thing\n")
    assert output.fail("no such thing", 1, None) == 1
    assert capsys.readouterr() == ("", "tfx-mnist: no such thing\n")
