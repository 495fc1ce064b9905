import pytest

from pipeline.config import RunConfig, build
from pipeline.presets import PRESETS


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_builds_and_says_what_it_is_for(name: str) -> None:
    assert build(name, {}).training == PRESETS[name]().training
    assert PRESETS[name].__doc__


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_chooses_the_training_and_leaves_data_and_gates_alone(name: str) -> None:
    preset, default = build(name, {}), RunConfig()
    assert (preset.dataset, preset.gate, preset.data_gate) == (
        default.dataset,
        default.gate,
        default.data_gate,
    )


def test_the_default_preset_exists() -> None:
    assert RunConfig().preset in PRESETS


def test_article_is_what_the_article_says() -> None:
    training = build("article", {}).training
    assert (training.optimizer, training.learning_rate) == ("adadelta", 1.0)
    assert (training.epochs, training.per_replica_batch) == (12, 128)
    assert (training.schedule, training.max_shift) == ("constant", 0)
