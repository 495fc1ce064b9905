import pytest

from trainer.tuning.settings import TuningConfig


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"algorithm": "grid"}, "tuning.algorithm is 'grid', expected one of bayesian, hyperband"),
        ({"objective": "f1"}, "tuning.objective is 'f1', expected one of accuracy, loss"),
        ({"epochs": 0}, "tuning.epochs is 0, expected a whole number, 1 or more"),
        ({"max_minutes": 0.0}, "tuning.max_minutes is 0.0, expected a number above 0"),
    ],
)
def test_a_value_out_of_range_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        TuningConfig(**change)
