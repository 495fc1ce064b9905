"""What a configuration may say: its keys, its JSON schema, and keys from another distribution."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.main import main
from pipeline.config_model import described, json_schema, keys
from tests.pipeline.cli.processes import process, script
from tests.plugins import install

PLUGIN = """
from trainer.architectures import ARCHITECTURES, Architecture
from trainer.hparams import HYPER_PARAMETERS, HyperParameter

def hidden(image, hparams):
    from keras import layers
    return layers.Dense(hparams.extra["units"])(layers.Flatten()(image))

def even(text):
    if not text.isdecimal() or int(text) % 2:
        raise ValueError("an even number")
    return int(text)

ARCHITECTURES.add("hidden", Architecture("one hidden layer", 1, hidden))
HYPER_PARAMETERS.add("units", HyperParameter("units of the hidden layer", default=2, parse=int))
HYPER_PARAMETERS.add("pairs", HyperParameter("pairs", default=0, parse=even))
"""


def schema(section: str = "") -> dict[str, Any]:
    """The properties of the schema of a configuration file, or of one of its sections."""
    properties = json_schema()["properties"]
    return properties[section]["properties"] if section else properties


def test_every_key_describes_itself_and_says_what_it_takes() -> None:
    assert {one.name for one in described()} == {"preset", *keys()}
    assert all(one.description and one.expected for one in described())
    assert keys("gate") == [key for key in keys() if key.startswith("gate.")]


def test_the_schema_knows_types_bounds_and_names() -> None:
    assert schema()["preset"]["enum"] == ["quick", "fast", "best", "article"]
    assert (schema()["seed"]["type"], schema()["seed"]["maximum"]) == ("integer", 2**31 - 1)
    number, null = schema("gate")["floor"]["anyOf"]
    assert (number, null) == ({"type": "number", "minimum": 0, "maximum": 1}, {"type": "null"})
    assert schema("training")["dropout"]["exclusiveMaximum"] == 1
    assert schema("training")["optimizer"]["enum"] == ["adam", "adadelta"]


def test_the_schema_refuses_unknown_keys_and_takes_dotted_ones() -> None:
    whole = json_schema()
    assert whole["additionalProperties"] is False
    assert schema("gate")["floor"] == schema()["gate.floor"]
    assert whole["properties"]["gate"]["additionalProperties"] is False


def test_the_commands_print_keys_and_schema(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "keys"]) == 0
    shown = capfd.readouterr().out
    assert "gate.floor (default: none; takes a number from 0 to 1: 0.99 stands for 99 %)\n" in shown
    assert main(["config", "keys", "--json"]) == 0
    listed = json.loads(capfd.readouterr().out)["keys"]
    assert [one["default"] for one in listed if one["key"] == "seed"] == [0]
    assert main(["config", "schema"]) == 0
    assert json.loads(capfd.readouterr().out) == json_schema()


@pytest.fixture
def plugin(tmp_path: Path) -> dict[str, str]:
    """An environment in which a distribution adds two hyper-parameters."""
    install(tmp_path, PLUGIN)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path.rstrip(os.pathsep)}


def test_a_hyper_parameter_from_outside_is_a_key_like_ours(plugin: dict[str, str]) -> None:
    done = process(["config", "keys"], plugin)
    assert "training.extra.units (default: 2; takes a whole number)\n" in done.stdout
    done = script(
        """
        from pipeline.config_model import build, json_schema
        print(build("quick", {"training.extra.units": "5"}).training.extra)
        print(json_schema()["properties"]["training.extra.units"]["type"])
        """,
        env=plugin,
    )
    assert done.stdout.splitlines() == ["{'units': 5, 'pairs': 0}", "integer"], done.stderr


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("units=many", "training.extra.units is 'many', expected a whole number\n"),
        ("pairs=3", "training.extra.pairs is '3', expected an even number\n"),
        ("unit=3", "unknown key 'training.extra.unit': did you mean 'training.extra.units'? kn"),
    ],
)
def test_a_bad_value_of_it_is_one_line(setting: str, line: str, plugin: dict[str, str]) -> None:
    done = process(["run", "--set", f"training.extra.{setting}"], plugin)
    assert done.returncode == 2
    assert done.stderr.startswith(f"tfx-mnist: {line}")


def test_a_plugin_that_cannot_be_imported_is_one_line_and_ends_with_1(
    plugin: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "plugin_of_a_test.py").write_text("import no_such_module")
    done = process(["config", "keys"], plugin)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("tfx-mnist: the plugin plugin-of-a-test cannot be used, as its m")


@pytest.mark.slow
def test_a_network_is_built_with_it(plugin: dict[str, str]) -> None:
    done = script(
        """
        from pipeline.config_model import build
        from trainer.model import build_model
        words = {"training.architecture": "hidden", "training.extra.units": "5"}
        hparams = build("quick", words).training
        model = build_model(hparams, image_shape=(4, 4, 1), num_classes=2)
        print(model.count_params())
        """,
        env=plugin,
        timeout=300,
    )
    # 16 pixels to 5 units to 2 classes.
    assert done.stdout.splitlines()[-1:] == [str(16 * 5 + 5 + 5 * 2 + 2)], done.stderr[-2000:]
