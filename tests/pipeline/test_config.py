from components.gate.policy import GateConfig
from pipeline.config import DataGateConfig
from pipeline.dataset_defaults import DATASET_DEFAULTS, UNKNOWN_SET, policy_for


def test_one_bound_of_the_mean_intensity_can_be_set_alone() -> None:
    low, high = DATASET_DEFAULTS["mnist"].mean_intensity
    assert DataGateConfig(min_mean_intensity=0.2).mean_intensity("mnist") == (0.2, high)
    assert DataGateConfig(max_mean_intensity=0.3).mean_intensity("mnist") == (low, 0.3)


def test_the_bound_of_label_noise_is_the_sets_unless_told() -> None:
    assert (
        DataGateConfig().label_noise("mnist") == DATASET_DEFAULTS["mnist"].max_label_noise == 0.005
    )
    assert DataGateConfig().label_noise("idx_of_mine") == UNKNOWN_SET.max_label_noise == 0.03
    assert DataGateConfig(max_label_noise=0.2).label_noise("mnist") == 0.2


def test_zero_is_a_bound_and_not_an_absence() -> None:
    assert policy_for(GateConfig(floor=0.0), "mnist", num_classes=10, test_rows=1000).floor == 0.0
    assert DataGateConfig(min_mean_intensity=0.0).mean_intensity("mnist")[0] == 0.0
    assert DataGateConfig(max_label_noise=0.0).label_noise("mnist") == 0.0
