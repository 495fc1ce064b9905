"""YAML files that a user gives, JSON among them.

load("run.yaml", "configuration")      # what is in it; a ConfigError is one line with the path
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.config import ConfigError


def load(path: str, what: str) -> Any:
    """What the file holds; None when it is empty.

    Raises:
      ConfigError: the file cannot be read, or is not YAML.
    """
    import yaml

    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the {what} {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {_problem(error)}") from None


def _problem(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    return f"line {mark.line + 1}, column {mark.column + 1}: {getattr(error, 'problem', None)}"
