import pytest

from trainer.hparams import HParams
from trainer.optimizer import OneCycle


def test_survives_the_way_through_custom_config():
    hparams = HParams(epochs=3, dropout=0.25, extra={"heads": 4})
    assert HParams.from_config(hparams.to_config()) == hparams


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"architecture": "resnet"},
            "architecture is 'resnet', expected one of convnet, deep, article",
        ),
        ({"epochs": 0}, "training.epochs is 0, expected a whole number, 1 or more"),
        ({"learning_rate": float("nan")}, "learning_rate is nan, expected a number above 0"),
        ({"width": 17.0}, "width is 17.0, expected a number above 0, up to 16"),
        ({"precision": "int8"}, "precision is 'int8', expected one of float32, bfloat16, float16"),
    ],
)
def test_a_value_out_of_range_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        HParams(**change)


def test_one_cycle_rises_to_its_peak_and_falls_to_almost_nothing():
    rate = OneCycle(peak=0.01, total_steps=100)
    assert float(rate(0)) == pytest.approx(0.001)  # a tenth of the peak
    assert float(rate(25)) == pytest.approx(0.01)  # the peak, after a quarter of the steps
    assert float(rate(100)) == pytest.approx(0.00001)  # a thousandth of the peak
