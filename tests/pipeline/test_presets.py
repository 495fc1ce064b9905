import math

import pytest

from components.gate.policy import promised_cross_entropy
from pipeline.config import RunConfig
from pipeline.config_model import build
from pipeline.presets import PRESETS


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_builds_and_says_what_it_is_for(name: str) -> None:
    assert build(name, {}).training == PRESETS[name]()
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


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_label_smoothing_leaves_the_cross_entropy_room_below_the_gates_bound(name: str) -> None:
    # The smoothed answer gives the right one of 10 classes 1 - s + s / 10; MNIST allows 0.078 nats.
    smoothing = build(name, {}).training.label_smoothing
    unsure = -math.log(1 - smoothing + smoothing / 10)
    assert unsure < 0.25 * promised_cross_entropy(0.99, num_classes=10)


def test_best_trains_the_larger_network_longer_than_fast_on_more_kinds_of_change() -> None:
    best, fast = build("best", {}).training, build("fast", {}).training
    assert (best.architecture, fast.architecture) == ("deep", "convnet")
    assert best.epochs > fast.epochs
    assert (fast.max_rotation, fast.max_zoom) == (0.0, 0.0)
    assert best.max_rotation > 0.0
    assert best.max_zoom > 0.0
