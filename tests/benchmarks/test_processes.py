"""The measurement of a command tells why the command failed."""

import sys

import pytest

from tests.refusals import refusal_of


@pytest.mark.once
def test_a_command_that_failed_is_told_with_its_last_line_of_stderr(monkeypatch) -> None:
    monkeypatch.syspath_prepend("benchmarks")
    from processes import measure

    command = [sys.executable, "-c", "import sys; sys.exit('too few rows')"]
    assert refusal_of(SystemExit, measure, command).endswith(" ended with 1: too few rows")
