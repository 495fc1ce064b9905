import pytest

from trainer.hparams import HParams
from trainer.tuning.settings import TuningConfig


def test_survives_the_way_through_custom_config():
    hparams = HParams(epochs=3, dropout=0.25, extra={"heads": 4})
    assert HParams.from_config(hparams.to_config()) == hparams


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
