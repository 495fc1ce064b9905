import io
import json
import os
import pty
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import output
from pipeline.cli.output import Line, write

Captured = pytest.CaptureFixture[str]


def test_columns_are_aligned_and_the_last_one_is_not_cut() -> None:
    path = "a/very/long/path" * 20
    rows = [("version", "files", ""), ("1", "match", path), ("12", "damaged", "")]
    assert output.table(rows) == [
        "version  files",
        f"1        match    {path}",
        "12       damaged",
    ]


def test_no_text_moves_the_cursor_or_makes_a_line_of_its_own(capsys: Captured) -> None:
    output.say(["a\x1b[2J", "b\r\nc\u2028d", "\u202egnp.exe", "\x00\x9b0m\t", "caf\xe9 \udcff"])
    assert capsys.readouterr().out.splitlines() == [
        r"a\x1b[2J",
        r"b\r\nc\u2028d",
        r"\u202egnp.exe",
        r"\x00\x9b0m\t",
        r"café \udcff",
    ]


def test_no_text_is_a_command_to_a_ci_server_that_reads_the_log(capsys: Captured) -> None:
    # GitHub's runner takes "::" at the start, blanks aside, and "##[" anywhere; Azure's "##vso[".
    output.say(["::error::x", "  ::add-mask::x  99 %", "a ##[error]x", "##vso[task.complete]"])
    assert capsys.readouterr().out.splitlines() == [
        r"\u003a:error::x",
        r"  \u003a:add-mask::x  99 %",
        r"a \u0023#[error]x",
        r"\u0023#vso[task.complete]",
    ]
    output.say_json({"class": "a ###[error]x", "##vso[": 1})
    shown = capsys.readouterr().out
    assert ("##[" in shown, "##vso[" in shown) == (False, False)
    assert json.loads(shown) == {"class": "a ###[error]x", "##vso[": 1}
    output.say(["a::b: 9", "issue ##7 [8]"])
    assert capsys.readouterr().out == "a::b: 9\nissue ##7 [8]\n"


def test_a_line_has_an_end(capsys: Captured) -> None:
    output.say(["9" * 1_000_000, "9 " * 500_000, "9" * 4_096])
    word, words, path = capsys.readouterr().out.splitlines()
    assert (len(word), path) == (80, "9" * 4_096)
    assert words.endswith("9 9 ... (990,000 more characters)")


def test_a_cell_does_not_widen_its_column_without_end() -> None:
    header, row = output.table([("run", ""), ("9" * 1_000, "x\n" * 100)])
    assert (len(header), len(row)) == (3, 80 + len("... (920 more characters)") + 2 + 300)


def test_json_is_read_by_those_who_refuse_half_a_surrogate_pair(capsys: Captured) -> None:
    output.say_json(
        {"path-\udcff": ["serving-\udcff", "\x1b\u202e\U0001f600"], "loss": float("nan")}
    )
    assert json.loads(capsys.readouterr().out) == {
        r"path-\udcff": [r"serving-\udcff", "\x1b\u202e\U0001f600"],
        "loss": None,
    }


def test_a_failure_is_one_line_and_with_json_an_object(capsys: Captured) -> None:
    output.fail("no such thing", {"error": "no such thing"})
    assert capsys.readouterr() == ('{"error": "no such thing"}\n', "tfx-mnist: no such thing\n")
    output.fail("no such thing", None)
    assert capsys.readouterr() == ("", "tfx-mnist: no such thing\n")


def test_what_a_signal_interrupts_is_not_written_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(output.Outlet):
        def write(self, data: Any, /) -> int:
            super().write(data)
            raise KeyboardInterrupt  # as the handler of a signal that came meanwhile

    monkeypatch.setattr(output, "Outlet", Interrupted)
    read_end, write_end = os.pipe()
    with open(read_end) as read:
        with output.text_stream(write_end, like=None, closefd=True) as stream:
            for word in ("one", "two"):
                with pytest.raises(KeyboardInterrupt):
                    output.write([word], stream)
        assert read.read() == "one\ntwo\n"


def test_a_line_does_not_wait_for_the_next_one(tmp_path: Path) -> None:
    file = tmp_path / "out"
    stream = output.text_stream(os.open(file, os.O_CREAT | os.O_WRONLY), like=None, closefd=True)
    stream.write("one\n")
    assert file.read_text() == "one\n"
    stream.close()


class TestWrite:
    def test_a_long_path_is_never_broken(self) -> None:
        out, path = io.StringIO(), "a/" * 300 + "b"
        write([path], out)
        assert out.getvalue() == f"{path}\n"

    @pytest.mark.parametrize(
        ("no_color", "term", "shown"),
        [
            ("", "xterm", b"\x1b[32myes\x1b[0m\r\n\x1b[31mno\x1b[0m\r\nso\r\n"),
            ("1", "xterm", b"yes\r\nno\r\nso\r\n"),
            ("", "dumb", b"yes\r\nno\r\nso\r\n"),
        ],
    )
    def test_good_and_bad_are_coloured_on_a_terminal_without_no_color(
        self, no_color: str, term: str, shown: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TERM", term)
        monkeypatch.setenv("NO_COLOR", no_color)
        controller, terminal = pty.openpty()
        with open(terminal, "w") as stream:
            write([Line("yes", "good"), Line("no", "bad"), "so"], stream)
            read = b""
            while len(read) < len(shown):
                read += os.read(controller, 1_000)
        os.close(controller)
        assert read == shown

    def test_elsewhere_text_is_bare(self) -> None:
        out = io.StringIO()
        write([Line("yes", "good")], out)
        assert out.getvalue() == "yes\n"
