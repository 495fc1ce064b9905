"""`tfx-mnist config keys` and `config schema`: the keys of a configuration."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator

from pipeline import config_model
from pipeline.cli import output
from pipeline.cli.command import Reply, command
from pipeline.config_model import Key
from pipeline.result import ExitCode

_WIDTH = 100


@command(done="listed", failed="a plugin cannot be imported", shows=lambda _: True)
def keys() -> Reply:
    """Lists every key with its default, its type and its meaning.

    --set and configuration files take these keys. A default of `none` means the value of the data
    set, or no limit, as the text says. The defaults of `training` are those of the preset quick.
    """
    described = config_model.described()
    fields = {
        "keys": [
            {
                "key": one.name,
                "default": one.default,
                "expected": one.expected,
                "description": one.description,
            }
            for one in described
        ]
    }
    return Reply(fields, [line for one in described for line in _lines(one)])


def _lines(key: Key) -> Iterator[str]:
    default = {None: "none", True: "true", False: "false", (): "none", "": "empty"}
    known = isinstance(key.default, bool | str | tuple | None)
    shown = default.get(key.default, key.default) if known else key.default
    yield f"{key.name} (default: {shown}; takes {key.expected})"
    yield from textwrap.wrap(
        key.description, _WIDTH, initial_indent="    ", subsequent_indent="    "
    )


@command(done="printed", failed="a plugin cannot be imported", shows=lambda _: True)
def schema() -> int:
    """Prints the JSON schema of a configuration file, for editors.

    Write it to a file, `tfx-mnist config schema > schema.json`, and put `# yaml-language-server:
    $schema=schema.json` into the first line of a YAML file: editors then complete and check its
    keys.
    """
    output.say(json.dumps(config_model.json_schema(), indent=2).splitlines())
    return ExitCode.DONE
