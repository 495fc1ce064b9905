"""Docker and Podman: whether they are there, and whether their engines answer."""

from __future__ import annotations

import functools
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

from pipeline.doctor.machine import Engine

TIMEOUT_S = 3.0  # an engine that works has answered in a tenth of it

# The questions that only a working engine answers.
_QUESTIONS = {
    "docker": ("version", "--format", "{{.Server.Version}}"),
    "podman": ("info", "--format", "{{.Version.Version}}"),
}


def find(*, timeout_s: float = TIMEOUT_S) -> tuple[Engine, ...]:
    """Asks all engines for their versions at once, and returns what they answered in time."""
    with ThreadPoolExecutor() as pool:
        return tuple(pool.map(functools.partial(_ask, timeout_s), _QUESTIONS))


def _ask(timeout_s: float, name: str) -> Engine:
    path = shutil.which(name)
    if path is None:
        return Engine(name, None)
    try:
        done = subprocess.run(
            [path, *_QUESTIONS[name]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except OSError as error:
        return Engine(name, path, problem=f"cannot be started: {error.strerror}")
    except subprocess.TimeoutExpired:
        return Engine(name, path, problem=f"its engine did not answer within {timeout_s:g} s")
    version = done.stdout.strip()
    if done.returncode == 0 and version:
        return Engine(name, path, version)
    said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    return Engine(name, path, problem=f"its engine does not answer: {said[-1]}")
