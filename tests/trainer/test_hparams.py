import pytest

from trainer.hparams import HParams
from trainer.schedule import OneCycle


def test_survives_the_way_through_custom_config():
    hparams = HParams(epochs=3, dropout=0.25)
    assert HParams.from_config(hparams.to_config()) == hparams


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"architecture": "resnet"},
            "architecture is 'resnet', expected one of convnet, deep, article",
        ),
        ({"epochs": 0}, "epochs is 0, expected 1 or more"),
        ({"per_replica_batch": 0}, "per_replica_batch is 0, expected 1 or more"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0, expected a number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan, expected a number above 0"),
        ({"dropout": 1.0}, "dropout is 1.0, expected 0 up to but not 1"),
        ({"width": 0.0}, "width is 0.0, expected above 0, up to 16"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1, expected 0 up to but not 1"),
        ({"max_shift": -1}, "max_shift is -1, expected 0 or more"),
        ({"max_rotation": 200.0}, "max_rotation is 200.0, expected 0 to 180 degrees"),
        ({"max_zoom": 1.0}, "max_zoom is 1.0, expected 0 up to but not 1"),
        ({"averaging": 1.0}, "averaging is 1.0, expected 0 up to but not 1"),
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
