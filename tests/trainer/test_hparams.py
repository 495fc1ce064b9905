import pytest

from trainer.hparams import HParams
from trainer.tuning.settings import TuningConfig


def test_survives_the_way_through_custom_config():
    hparams = HParams(epochs=3, dropout=0.25, extra={"heads": 4})
    assert HParams(**hparams.to_config()) == hparams
    elsewhere = HParams(epochs=3, dropout=0.25, extra={"heads": 4}, input="stream")
    assert elsewhere.to_config() == hparams.to_config()  # no key depends on where images lie


@pytest.mark.parametrize(
    ("settings", "change", "message"),
    [
        (
            HParams,
            {"architecture": "resnet"},
            "training.architecture is 'resnet', expected one of convnet, deep, article",
        ),
        (HParams, {"learning_rate": float("nan")}, "rate is nan, expected a number above 0"),
        (HParams, {"width": 17.0}, "training.width is 17.0, expected a number above 0, up to 16"),
        (HParams, {"schedule": "cosine"}, "schedule is 'cosine', expected one of one_cycle, const"),
        (
            HParams,
            {"precision": "float64"},
            "'float64', expected one of float32, bfloat16, float16",
        ),
        (HParams, {"max_shift": -1}, "max_shift is -1, expected a whole number, 0 or more"),
        (HParams, {"patience": -1}, "patience is -1, expected a whole number, 0 or more"),
        (
            HParams,
            {"max_rotation": -0.5},
            "max_rotation is -0.5, expected a number from 0 to 180",
        ),
        (HParams, {"max_rotation": 180.5}, "max_rotation is 180.5, expected a number from 0 to"),
        (TuningConfig, {"epochs": 0}, "tuning.epochs is 0, expected a whole number, 1 or more"),
        (TuningConfig, {"objective": "f1"}, "objective is 'f1', expected one of accuracy, loss"),
    ],
)
def test_a_value_out_of_range_is_refused(settings, change, message):
    with pytest.raises(ValueError, match=message):
        settings(**change)


def test_fractions_are_below_one():
    for name in (
        *("dropout", "weight_decay", "label_smoothing"),
        *("max_zoom", "color_jitter", "averaging"),
    ):
        assert getattr(HParams(**{name: 0.999}), name) == 0.999
        for value in (-0.001, 1.0):
            line = rf"training\.{name} is {value}, expected a number from 0 to below 1"
            with pytest.raises(ValueError, match=line):
                HParams(**{name: value})
