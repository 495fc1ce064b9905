"""The runtime parameters: split off when compiled, joined again in the container."""

import pytest

from pipeline.config import ConfigError
from pipeline.config_model import build
from pipeline.runners.kubeflow import parameters

OVERRIDES = {
    "dataset": "mnist",
    "seed": 5,
    "training.epochs": "3",
    "gate.floor": "0.97",
    "gate.max_drop": "0.01",
}


def test_what_a_run_may_change_becomes_defaults_and_the_rest_is_compiled_in() -> None:
    defaults, settings = parameters.split("fast", OVERRIDES)
    assert defaults == {
        "dataset": "mnist",
        "preset": "fast",
        "seed": 5,
        "epochs": "3",
        "floor": "0.97",
    }
    assert settings == {"gate.max_drop": "0.01"}


def test_joined_again_they_are_the_configuration() -> None:
    again = parameters.configuration(*parameters.split("fast", OVERRIDES))
    assert again == build("fast", OVERRIDES)


def test_what_is_not_said_is_the_presets_own_whichever_the_run_chooses() -> None:
    defaults, settings = parameters.split("quick", {})
    assert (defaults["epochs"], defaults["floor"]) == ("", "")
    chosen = parameters.configuration({**defaults, "preset": "article"}, settings)
    assert chosen == build("article", {})


def test_backend_makes_every_number_a_double_so_the_seed_is_whole_again() -> None:
    defaults, settings = parameters.split("quick", {})
    seed = parameters.configuration({**defaults, "seed": 7.0}, settings).seed
    assert (seed, type(seed)) == (7, int)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"preset": "quik"}, "did you mean 'quick'"),
        ({"epochs": "many"}, "training.epochs is 'many'"),
        ({"floor": "2"}, "gate.floor is '2'"),
        ({"seed": float("nan")}, "seed is nan, expected a whole number"),
        ({"seed": "9" * 5_000}, "seed is '9+...9+', expected a whole number"),
        ({"dataset": "MNIST!"}, "dataset is 'MNIST!', expected mnist_sample, idx:DIR"),
        ({"dataset": "idx:data"}, "dataset is 'idx:data', expected an absolute directory"),
        ({"dataset": "idx:~/data"}, "dataset is 'idx:~/data', expected an absolute directory"),
    ],
)
def test_a_runs_bad_value_is_refused_by_the_keys_name(changes: dict, words: str) -> None:
    defaults, settings = parameters.split("quick", {})
    with pytest.raises(ConfigError, match=words):
        parameters.configuration({**defaults, **changes}, settings)


@pytest.mark.parametrize("dataset", ["MNIST!", "idx:data"])
def test_a_default_that_means_nothing_in_a_container_is_refused(dataset: str) -> None:
    with pytest.raises(ConfigError, match=f"dataset is '{dataset}', expected"):
        parameters.split("quick", {"dataset": dataset})


def test_an_older_uploads_missing_parameter_is_named() -> None:
    with pytest.raises(ConfigError, match="'seed' is missing, expected dataset, preset, seed"):
        parameters.configuration({"dataset": "mnist", "preset": "quick"}, {})


def test_values_of_a_command_line_get_their_types() -> None:
    assert parameters.typed({"seed": "3", "epochs": "3"}) == {"seed": 3, "epochs": "3"}
    with pytest.raises(ConfigError, match="seed is 'x', expected a whole number, 0 or more"):
        parameters.typed({"seed": "x"})


def test_equal_settings_are_equal_texts() -> None:
    texts = {parameters.to_text(one) for one in ({"a": 1, "b": 2}, {"b": 2, "a": 1})}
    assert texts == {'{"a": 1, "b": 2}'}
