"""What a configuration may say: its keys, its JSON schema, and keys from another distribution."""

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from components.gate.slices import Bands
from pipeline.cli.main import main
from pipeline.config import ConfigError
from pipeline.config_model import build, described, flatten, json_schema, keys
from pipeline.dataset_defaults import DATASET_DEFAULTS, policy_for
from tests.pipeline.cli.processes import process, script
from tests.plugins import install
from tests.refusals import refusal_of
from trainer.hparams import HYPER_PARAMETERS, HyperParameter

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


@pytest.mark.parametrize(
    ("key", "given", "value"),
    [
        ("seed", "3", 3),
        ("seed", 3, 3),
        ("cache", "false", False),
        ("cache", True, True),
        ("data_dir", "none", None),
        ("data_dir", None, None),
        ("data_dir", "somewhere", "somewhere"),
        ("data_dir", 7, "7"),  # of JSON, as of YAML
        ("beam_args", ["--a=1", "--b"], ("--a=1", "--b")),
        ("beam_args", ["--a", "1", "-b"], ("--a", "1", "-b")),
    ],
)
def test_a_value_is_read_as_its_fields_type(key: str, given: object, value: object) -> None:
    assert getattr(build("quick", {key: given}), key) == value


@pytest.mark.parametrize(
    ("key", "given", "expected"),
    [
        ("seed", "x", "a whole number from 0 to 2147483647"),
        ("seed", True, "a whole number from 0 to 2147483647"),
        ("seed", "-1", "a whole number from 0 to 2147483647"),
        ("seed", 2**31, "a whole number from 0 to 2147483647"),
        ("replicas", 1.5, "a whole number, 0 or more: 0 is automatic"),
        ("replicas", "-2", "a whole number, 0 or more: 0 is automatic"),
        ("cache", "yes", "true or false"),
        ("dataset", True, "a string"),
        ("dataset", None, "a string"),
        ("beam_args", "--a", "a list of strings"),
        ("beam_args", 3, "a list of strings"),
        ("training.learning_rate", "fast", "a number above 0"),
        ("training.patience", str(2**63), "a whole number of 64 bits"),
        ("training.epochs", "0", "a whole number, 1 or more"),
        ("training.optimizer", "adm", "one of adam, adadelta"),
        ("gate.floor", "99", "a number from 0 to 1: 0.99 stands for 99 %"),
        ("data_gate.max_class_drift", "-0.1", "a number from 0 to 1"),
        ("serving.max_p99_latency_ms", "0", "a number above 0"),
        ("serving.max_memory_mib", "nan", "a number above 0"),
    ],
)
def test_a_bad_value_is_refused_in_one_line(key: str, given: object, expected: str) -> None:
    line = f"{key} is {given!r}, expected {expected}"
    assert refusal_of(ConfigError, build, "quick", {key: given}) == line


@pytest.mark.parametrize(("given", "word"), [(["x"], "x"), (["--a=1", "2"], "2"), ([3], "3")])
def test_a_word_that_is_no_option_of_beam_is_refused(given: list, word: str) -> None:
    assert refusal_of(ConfigError, build, "quick", {"beam_args": given}) == (
        f"beam_args has the word '{word}', expected Beam's options, such as --direct_num_workers=2"
    )


def test_a_key_without_its_section_names_all_of_that_name() -> None:
    line = "unknown key 'epochs': did you mean 'training.epochs' or 'tuning.epochs'?"
    assert refusal_of(ConfigError, build, "quick", {"epochs": 1}) == line


@pytest.mark.parametrize("key", ["pipeline_root", "serving_dir"])
def test_an_object_store_is_no_directory_to_run_in(key: str) -> None:
    assert refusal_of(ConfigError, build, "quick", {key: "gs://bucket/x"}) == (
        f"{key} is 'gs://bucket/x', expected a directory of this machine: locks and renames need "
        "one; --artifacts URI keeps what the components hand on in an object store"
    )


@pytest.mark.parametrize("uri", ["s3://bucket", "gs://my-bucket/a/b_1/", "/a/b", "b"])
def test_artifacts_lie_in_a_directory_or_in_a_store(uri: str) -> None:
    assert build("quick", {"artifacts": uri}).artifacts == uri


@pytest.mark.parametrize(
    "uri",
    [
        *("s3://", "s3:///dir", "ftp://host/dir", "s3://b/dir", "s3://.bucket/dir"),
        *("s3://bucket/a?x=1", "gs://bucket/*", "gs://bucket//dir", "gs://bucket/ü"),
    ],
)
def test_a_uri_that_names_no_directory_of_a_store_is_refused(uri: str) -> None:
    assert refusal_of(ConfigError, build, "quick", {"artifacts": uri}) == (
        f"artifacts is {uri!r}, expected a directory, s3://BUCKET/DIR or gs://BUCKET/DIR, in "
        "letters, digits and . _ - = + @ ,"
    )


def test_a_number_too_large_for_a_float_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a number"):
        build("quick", {"gate.floor": 10**400})


def test_a_section_is_no_key() -> None:
    with pytest.raises(ConfigError, match="gate is None, expected keys below it, such as gate"):
        build("quick", {"gate": None})


def test_the_preset_is_no_key_of_build() -> None:
    with pytest.raises(ConfigError, match="unknown key 'preset'"):
        build("quick", {"preset": "fast"})


def test_a_section_keeps_its_other_values() -> None:
    changed = build("article", {"training.epochs": "2"}).training
    assert (changed.epochs, changed.optimizer) == (2, "adadelta")


def test_flatten_joins_nested_keys_with_dots() -> None:
    tree = {"seed": 1, "gate": {"floor": 0.9, "max_drop": 0.1}, "training": {}}
    assert flatten(tree) == {"seed": 1, "gate.floor": 0.9, "gate.max_drop": 0.1}


def test_slices_are_one_text_with_semicolons() -> None:
    both = build("quick", {"gate.slices": "mean_intensity:0.1,0.2;height:20"}).gate
    expected = (Bands("mean_intensity", (0.1, 0.2)), Bands("height", (20.0,)))
    assert policy_for(both, "", num_classes=10, test_rows=1000).slices == expected


@pytest.mark.parametrize("key", ["data_dir", "dataset"])  # a path, and a text
def test_a_path_that_is_no_text_is_refused(key: str) -> None:
    assert refusal_of(ConfigError, build, "quick", {key: "idx:/data-\udcff"}) == (
        rf"{key} is 'idx:/data-\udcff', expected text in UTF-8: ML Metadata takes no other"
    )


def test_a_bad_slice_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match="a slice is 'weight', expected feature:edge"):
        build("quick", {"gate.slices": "weight"})


def test_none_gives_a_threshold_back_to_the_data_set() -> None:
    config = build("quick", {"gate.floor": "none", "gate.slices": "none"})
    policy = policy_for(config.gate, "mnist", num_classes=10, test_rows=10_000)
    assert (policy.floor, policy.slices) == (
        DATASET_DEFAULTS["mnist"].floor,
        DATASET_DEFAULTS["mnist"].slices,
    )


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


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("training: {architecture: net.py:build, extra: {units: 64}}", True),
        ("training: {architecture: net}", False),
        ("training.extra.units: 64", True),
        ("training.extra: {units: 64}", True),
        ("training.extra: 64", False),
        ("data: {image_size: 64}", True),
        ("pipeline_root: 2026", True),
        ("data: {image_size: [64]}", False),
        ("training: {extras: {units: 64}}", False),
    ],
)
def test_the_schema_takes_what_a_run_takes(text: str, *, valid: bool) -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    assert validator.is_valid(yaml.safe_load(text)) is valid


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


def test_a_hyper_parameter_that_is_added_later_is_a_key_from_then_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build("quick", {"training.epochs": 3})
    late = HyperParameter("added in a notebook", default=1, parse=int)
    monkeypatch.setitem(HYPER_PARAMETERS._entries, "late", late)
    assert build("quick", {"training.extra.late": "5"}).training.extra["late"] == 5


def test_what_comes_from_outside_is_described_and_a_key_like_ours(plugin: dict[str, str]) -> None:
    described = process(["config", "keys"], plugin).stdout
    assert "training.extra.units (default: 2; takes a whole number)\n" in described
    words = " ".join(described.split())
    assert "the network: convnet (two small convolutions), deep (five convolutions, " in words
    assert ", hidden (one hidden layer) training.weights (" in words
    done = script(
        """
        from pipeline.cli.main import main
        from pipeline.config_model import build, json_schema
        print(build("quick", {"training.extra.units": "5"}).training.extra)
        print(json_schema()["properties"]["training.extra.units"]["type"])
        for value in ("units=many", "pairs=3", "unit=3"):
            print(int(main(["run", "--set", f"training.extra.{value}"])))
        """,
        env=plugin,
    )
    said = ["{'units': 5, 'pairs': 0}", "integer", "2", "2", "2"]
    assert done.stdout.splitlines() == said, done.stderr
    many, odd, unknown = done.stderr.splitlines()
    assert many == "tfx-mnist: training.extra.units is 'many', expected a whole number"
    assert odd == "tfx-mnist: training.extra.pairs is '3', expected an even number"
    assert "unknown key 'training.extra.unit': did you mean 'training.extra.units'? s" in unknown


def test_a_plugin_that_cannot_be_imported_is_one_line_and_ends_with_1(
    plugin: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "plugin_of_a_test.py").write_text("import no_such_module")
    done = process(["config", "keys"], plugin)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("tfx-mnist: the plugin plugin-of-a-test cannot be used, as its m")
