"""Reads a user's YAML and JSON files, within bounds of size and depth, and with one meaning only.

A plain word of YAML stays text, which its field reads like the value of a flag; YAML 1.1 would read
010 as 8, 1:30 as 90 and "no" as false. Aliases, tags and repeated keys are refused while the file
is parsed, because nested aliases can take gigabytes.
"""

from __future__ import annotations

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any, NoReturn

import yaml

from pipeline.config import ConfigError
from trainer.host import strict_json
from trainer.host.files import read_regular
from trainer.host.text import quoted

_MAX_BYTES = 1 << 16  # takes a second at most; a file with a comment on each key has 8 KiB
_MAX_DEPTH = strict_json.MAX_DEPTH
_LONGEST_PROBLEM = 200  # characters
_NULL = "tag:yaml.org,2002:null"


class BoundedLoader(yaml.SafeLoader):
    """Loads YAML of few levels; a ValueError refuses aliases, tags and repeated keys."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            _refuse(event, f"the alias {quoted(event.anchor)} is not allowed: write the value out")
        if getattr(event, "tag", None) is not None:
            _refuse(event, f"the tag {quoted(event.tag)} is not allowed: write the value alone")
        if self._depth == _MAX_DEPTH:
            _refuse(event, f"values are nested deeper than {_MAX_DEPTH} levels")
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                _refuse(key, f"the key {quoted(key.value)} occurs twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _TextLoader(BoundedLoader):
    """Loads the same, but keeps plain words as text, except null, ~ and empty values."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # as PyYAML declares it
        first: [(tag, pattern) for tag, pattern in known if tag == _NULL]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def load(path: Path, what: str) -> Any:
    """Returns the content of a file; None if it is empty.

    YAML gives mappings, lists, texts and None; JSON, told by the name's .json or a first "{", also
    gives numbers and booleans. `what` names the kind of file in errors.

    Raises:
      ConfigError: the file cannot be read, is too large, or is refused; the line names it.
    """
    is_json = path.suffix.lower() == ".json"
    try:
        return _parsed(read_regular(path, max_bytes=_MAX_BYTES), is_json=is_json)
    except (yaml.YAMLError, json.JSONDecodeError, UnicodeDecodeError) as error:
        kind = "JSON" if is_json else "YAML"
        raise ConfigError(f"{path} is not {kind}: {_problem(error)}") from None
    except (OSError, ValueError) as error:  # of the file, of `_refuse` or of `strict_json`
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"cannot read the {what} {path}: {reason}") from None


def _parsed(content: bytes, *, is_json: bool) -> Any:
    text = content.decode("utf-8-sig")
    if is_json or text.lstrip().startswith("{"):
        try:
            return strict_json.loads(text)
        except json.JSONDecodeError:  # YAML's mappings may begin with a brace as well
            if is_json:
                raise
    return yaml.load(text, Loader=_TextLoader)


def _refuse(at: Any, sentence: str) -> NoReturn:
    raise ValueError(f"line {at.start_mark.line + 1}: {sentence}")


def _problem(error: yaml.YAMLError | json.JSONDecodeError | UnicodeDecodeError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}, column {error.colno}: {error.msg}"
    if isinstance(error, UnicodeDecodeError):
        line = 1 + error.object.count(b"\n", 0, error.start)
        return f"line {line}: {error}"
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    problem = str(getattr(error, "problem", None))[:_LONGEST_PROBLEM]  # it may quote the file
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"
