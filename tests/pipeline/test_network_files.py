"""A network of the user's own and given weights in a configuration, before anything runs."""

from pathlib import Path

import pytest

from pipeline.code_keys import COMPONENTS, code_keys
from pipeline.config import ConfigError, RunConfig
from pipeline.config_model import build
from pipeline.run_plan import make_plan
from pipeline.runners.kubeflow import parameters
from tests.refusals import refusal_of
from trainer.host.errors import Refusal
from trainer.hparams import HParams
from trainer.tuning.oracle import search_space

NET = """
from typing import Literal
import keras

def build(image_shape, num_classes, hparams, *, units: Literal[2, 4] = 4, bias=True):
    image = keras.Input(image_shape)
    x = keras.layers.Dense(units, use_bias=bias)(keras.layers.Flatten()(image))
    return keras.Model(image, keras.layers.Dense(num_classes)(x))

def features(image_shape, num_classes, hparams):
    image = keras.Input(image_shape)
    return keras.Model(image, keras.layers.Flatten()(image))
"""


@pytest.fixture
def net(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(NET)
    return f"{tmp_path}/net.py"


def configured(architecture: str, **values: str) -> RunConfig:
    return build("quick", {"training.architecture": architecture, **values})


def test_its_source_and_its_own_hyper_parameters_are_part_of_the_training(net: str) -> None:
    training = configured(f"{net}:build", **{"training.extra.bias": "false"}).training
    assert training.found == {"architecture": NET}
    assert training.extra == {"units": 4, "bias": False}
    assert "found" not in training.to_settings()
    assert len(training.to_record()["found"]["architecture"]) == 64


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("units", "many", "training.extra.units is 'many', expected one of 2, 4"),
        ("units", "3", "training.extra.units is 3, expected one of 2, 4"),
        ("bias", "2", "training.extra.bias is '2', expected true or false"),
        ("unit", "2", "unknown key 'training.extra.unit': did you mean 'training.extra.units'? s"),
    ],
)
def test_a_bad_value_of_its_own_is_one_line(net: str, key: str, value: str, line: str) -> None:
    assert refusal_of(
        ConfigError, configured, f"{net}:build", **{f"training.extra.{key}": value}
    ).startswith(line)


def test_a_function_that_is_not_there_is_refused_with_the_configuration(net: str) -> None:
    with pytest.raises(Refusal, match="defines no such function: it defines build, features"):
        configured(f"{net}:buidl")
    with pytest.raises(ConfigError, match=r"'gone', expected one of convnet, .*, or pack"):
        configured("gone")


@pytest.mark.parametrize("folder", ["~", "TMP"])
def test_weights_that_are_not_there_are_refused_with_the_configuration(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = f"{folder.replace('TMP', str(tmp_path))}/gone.weights.h5"
    with pytest.raises(ConfigError, match=r"training.weights is '/.*No such file or directory"):
        build("quick", {"training.weights": file})


def test_what_does_not_fit_the_images_is_refused_before_the_run(
    net: str, thirds: str, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    places = {"dataset": thirds, "pipeline_root": str(root), "gate.floor": "0.9"}
    make_plan(configured(f"{net}:build", **places), run_id="run-1")
    with pytest.raises(Refusal, match=r"its output is \(None, 144\), expected one of the sh"):
        make_plan(configured(f"{net}:features", **places), run_id="run-1")
    from trainer.hparams import HParams
    from trainer.model import build_model

    file = str(tmp_path / "convnet.weights.h5")
    build_model(HParams(), image_shape=(12, 12, 1), num_classes=9).save_weights(file)
    make_plan(build("quick", {**places, "training.weights": file}), run_id="run-1")
    with pytest.raises(Refusal, match="does not fit the network: at layers/"):
        make_plan(
            configured(f"{net}:build", **places, **{"training.weights": file}), run_id="run-1"
        )
    assert not root.exists()


def test_another_source_and_other_weights_make_another_run_key(
    net: str, thirds: str, tmp_path: Path
) -> None:
    def key() -> str:
        places = {"dataset": thirds, "pipeline_root": str(tmp_path / "root"), "gate.floor": "0.9"}
        return make_plan(configured(f"{net}:build", **places), run_id="run-1").run_key

    first, again = key(), key()
    Path(net).write_text(f"{NET}# a comment\n")
    assert (again == first, key() == first) == (True, False)


def test_the_modules_of_its_package_are_in_the_keys_of_what_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "own_nets"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "parts.py").write_text("HEADS = 2")
    (package / "net.py").write_text(f"from own_nets import parts\n{NET}")
    monkeypatch.syspath_prepend(tmp_path)
    before, plain = code_keys(network="own_nets.net"), code_keys()
    (package / "parts.py").write_text("HEADS = 4")
    after = code_keys(network="own_nets.net")
    changed = {name for name in COMPONENTS if after[name] != before[name]}
    assert changed == {"Tuner", "Trainer"}
    assert {name for name in COMPONENTS if plain[name] != before[name]} == changed


@pytest.mark.parametrize(("given", "own"), [({}, 4), ({"training.extra.units": "2"}, 2)])
def test_a_search_tries_the_choices_that_it_declares(
    given: dict[str, str], own: int, net: str
) -> None:
    training = configured(f"{net}:build", **given).training
    space = search_space(training, objective="accuracy", side=28)
    (choice,) = (one for one in space.space if one.name.startswith("extra."))
    assert (choice.name, choice.values, choice.default) == ("extra.units", [2, 4], own)


def test_a_search_changes_no_layers_that_it_does_not_know(net: str) -> None:
    Path(net).write_text(f"{NET}\n# of any width and without dropout")  # words alone say nothing
    hparams = configured(f"{net}:build").training
    names = {one.name for one in search_space(hparams, objective="accuracy", side=28).space}
    assert names.isdisjoint({"width", "dropout"})
    for read, known, unknown in (
        ("hparams.width", "width", "dropout"),
        ('getattr(hparams, "dropout")', "dropout", "width"),
    ):
        Path(net).write_text(NET.replace("units, use", f"int(units * {read}), use"))
        hparams = configured(f"{net}:build").training
        names = {one.name for one in search_space(hparams, objective="accuracy", side=28).space}
        assert known in names
        assert unknown not in names


def test_a_search_leaves_a_network_with_given_weights_as_it_is(net: str, tmp_path: Path) -> None:
    file = tmp_path / "a.weights.h5"
    file.touch()
    own = configured(f"{net}:build", **{"training.weights": str(file)}).training
    for training in (own, HParams(weights=str(file))):
        names = {one.name for one in search_space(training, objective="accuracy", side=28).space}
        assert names.isdisjoint({"width", "dropout", "extra.units"})
        assert "learning_rate" in names


def test_on_kubeflow_a_module_is_taken_and_a_file_of_this_machine_is_refused(
    net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(net).with_name("net_in_the_image.py").write_text(NET)
    monkeypatch.syspath_prepend(Path(net).parent)
    given = {"training.architecture": "net_in_the_image:build"}
    assert parameters.check("quick", given).training.architecture == "net_in_the_image:build"
    with pytest.raises(ConfigError, match="expected a module that is in the image, such as"):
        parameters.check("quick", {"training.architecture": f"{net}:build"})
    (tmp_path / "a.weights.h5").touch()
    with pytest.raises(ConfigError, match=r"training\.weights is .*, expected none: containers"):
        parameters.check("quick", {"training.weights": str(tmp_path / "a.weights.h5")})
