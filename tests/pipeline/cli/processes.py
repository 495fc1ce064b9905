"""Runners that do what a test says, and the command line in a process of its own."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.config import RunConfig
from pipeline.result import RELEASED, RunResult


def runner(outcome: str = RELEASED, act: Callable[[], None] = lambda: None, **fields: Any) -> Any:
    """A runner that does `act` and comes to `outcome`."""

    def run(config: RunConfig, *, run_id: str, observer: Any) -> RunResult:
        act()
        return RunResult(run_id=run_id, outcome=outcome, **fields)

    return run


def raiser(error: BaseException) -> Any:
    def run(config: RunConfig, *, run_id: str, observer: Any) -> RunResult:
        print("said before it broke")
        raise error

    return run


def process(
    words: list[str], env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *words],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **(env or {})},
    )


def start(words: list[str], env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """The same as `process`, which goes on."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )


def script(code: str, *args: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    # Where the tests' own output is not buffered, C's is: a user's is.
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    kwargs = {"capture_output": True, "text": True, "timeout": 300, "env": environment, **kwargs}
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code), *args], **kwargs)


def imported_by(names: set[str], *commands: list[str]) -> tuple[str, list[list[str]]]:
    """What commands say in one process of their own, and which of the modules it has after each."""
    done = script(
        """
        import json, sys
        from pipeline.cli.main import main
        names, found = set(json.loads(sys.argv[1])), []
        for words in map(json.loads, sys.argv[2:]):
            main(words)
            found.append(sorted(names & set(sys.modules)))
        print(json.dumps(found))
        """,
        json.dumps(sorted(names)),
        *map(json.dumps, commands),
    )
    *said, imported = done.stdout.splitlines()
    return "\n".join([*said, done.stderr]), json.loads(imported)
