import dataclasses
import math

import pytest

from components.gate.policy import promised_cross_entropy
from pipeline.config import RunConfig
from pipeline.config_model import build
from pipeline.presets import PRESETS, fitted
from trainer.hparams import HParams


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_chooses_the_training_alone_and_says_what_it_is_for(name: str) -> None:
    chosen = RunConfig(preset=name, training=PRESETS[name](), given=frozenset())
    assert build(name, {}) == chosen
    assert PRESETS[name].__doc__


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


def fitted_to(preset: str, shape: tuple[int, int, int], **overrides: str) -> HParams:
    values = {f"training.{name}": value for name, value in overrides.items()}
    return build(preset, values).fitted(shape).training


@pytest.mark.parametrize("name", sorted(PRESETS))
@pytest.mark.parametrize("shape", [(28, 28, 1), (31, 200, 1), (16, 16, 1)], ids=str)
def test_small_grey_images_are_trained_as_ever(name: str, shape: tuple[int, int, int]) -> None:
    assert fitted_to(name, shape) == PRESETS[name]()
    assert build(name, {}).chosen(shape) == ""


@pytest.mark.parametrize("name", ["quick", "fast", "best"])
@pytest.mark.parametrize(("shape", "flips"), [((32, 32, 1), False), ((16, 16, 3), True)], ids=str)
def test_larger_or_coloured_images_get_the_residual_network(
    name: str, shape: tuple[int, int, int], flips: bool
) -> None:
    training = fitted_to(name, shape)
    assert (training.architecture, training.horizontal_flip) == ("residual", flips)
    assert training.max_shift == min(shape[:2]) // 8
    assert training.color_jitter == (0.2 if flips and name == "best" else 0.0)
    assert build(name, {}).chosen((32, 48, 1)) == (
        f"residual, chosen by the preset {name} for images of 32x48x1"
    )


def test_the_choice_says_that_images_are_mirrored() -> None:
    line = "residual, chosen by the preset fast for images of 32x32x3"
    mirrors = f"{line}; training mirrors them (training.horizontal_flip)"
    assert build("fast", {}).chosen((32, 32, 3)) == mirrors
    assert build("fast", {"training.horizontal_flip": "false"}).chosen((32, 32, 3)) == line


@pytest.mark.parametrize("name", ["quick", "fast", "best"])
@pytest.mark.parametrize(
    ("shape", "shift"),
    [((8, 40, 1), 1), ((15, 15, 3), 1), ((7, 7, 1), 0), ((64, 64, 3), 4)],
    ids=str,
)
def test_no_preset_shifts_by_more_than_an_eighth_of_the_shorter_side(
    name: str, shape: tuple[int, int, int], shift: int
) -> None:
    assert fitted_to(name, shape).max_shift == shift
    assert fitted_to(name, shape, max_shift="3").max_shift == 3
    assert fitted_to(name, shape, architecture="deep").max_shift == min(shift, 2)


def test_what_was_told_stays() -> None:
    training = fitted_to("quick", (32, 32, 3), epochs="2", horizontal_flip="false")
    assert (training.architecture, training.epochs, training.horizontal_flip) == (
        ("residual", 2, False)
    )
    assert fitted_to("quick", (32, 32, 3), architecture="deep") == dataclasses.replace(
        PRESETS["quick"](), architecture="deep"
    )
    told = build("quick", {"training.architecture": "residual"})
    assert told.fitted((32, 32, 3)).training == fitted_to("quick", (32, 32, 3))
    assert told.chosen((32, 32, 3)) == ""


def test_the_article_and_a_configuration_without_a_preset_stay() -> None:
    assert fitted_to("article", (64, 64, 3)) == PRESETS["article"]()
    config = RunConfig(training=HParams(epochs=3))
    assert config.fitted((64, 64, 3)) is config
    assert fitted("quick", HParams(), (19, 19, 1), given=()) == HParams()
