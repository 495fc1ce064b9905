"""`tfx-mnist config keys` and `config schema`: what a configuration may say."""

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
    """Lists every key, with its default, what it takes and what it is.

    --set and a configuration file take these keys. A default of `none` is the data set's own value,
    or no limit, as the text says. A preset sets some keys of `training`.
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

    With `tfx-mnist config schema > schema.json`, and `# yaml-language-server: $schema=schema.json`
    in the first line of the YAML file, an editor completes and checks its keys.
    """
    output.say(json.dumps(config_model.json_schema(), indent=2).splitlines())
    return ExitCode.DONE
