"""Docker and Podman: whether they are there, and whether their engines answer."""

from __future__ import annotations

import shutil
import subprocess
import time
from typing import NamedTuple

from pipeline.doctor.machine import Engine

TIMEOUT_S = 3.0  # an engine that works has answered in a tenth of it

# The questions that only a working engine answers.
_QUESTIONS = {
    "docker": ("version", "--format", "{{.Server.Version}}"),
    "podman": ("info", "--format", "{{.Version.Version}}"),
}


class Asked(NamedTuple):
    """An engine that was asked; `process` is None if there is no executable."""

    name: str
    path: str | None
    process: subprocess.Popen[str] | None
    problem: str = ""


def ask() -> list[Asked]:
    """Asks each engine for its version, without waiting for an answer."""
    return [_ask(name, words) for name, words in _QUESTIONS.items()]


def _ask(name: str, words: tuple[str, ...]) -> Asked:
    path = shutil.which(name)
    if path is None:
        return Asked(name, None, None)
    try:
        process = subprocess.Popen(
            [path, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except OSError as error:
        return Asked(name, path, None, f"cannot be started: {error.strerror}")
    return Asked(name, path, process)


def answers(asked: list[Asked], *, timeout_s: float = TIMEOUT_S) -> tuple[Engine, ...]:
    """Returns what the engines answered within the time that all of them have together."""
    end = time.monotonic() + timeout_s
    return tuple(_answer(one, end - time.monotonic(), timeout_s) for one in asked)


def _answer(asked: Asked, left_s: float, timeout_s: float) -> Engine:
    if asked.process is None:
        return Engine(asked.name, asked.path, problem=asked.problem)
    with asked.process as process:
        try:
            out, err = process.communicate(timeout=max(0.0, left_s))
        except subprocess.TimeoutExpired:
            process.kill()
            problem = f"its engine did not answer within {timeout_s:g} s"
            return Engine(asked.name, asked.path, problem=problem)
    version = out.strip()
    if process.returncode == 0 and version:
        return Engine(asked.name, asked.path, version)
    said = err.strip().splitlines() or [f"exit status {process.returncode}"]
    return Engine(asked.name, asked.path, problem=f"its engine does not answer: {said[-1]}")
