"""The thresholds of each data set, for what a configuration does not set."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from components.data_gate.bounds import DataBounds, DataGateConfig
from components.gate.policy import GateConfig, Policy, promised_cross_entropy
from components.gate.slices import Bands

if TYPE_CHECKING:  # NumPy stands behind it
    from components.example_gen.image_set import DatasetInfo


@dataclasses.dataclass(frozen=True)
class DatasetDefaults:
    """Thresholds for a data set (docs/gate.md), and facts about its images (docs/data.md).

    Attributes:
      floor: accuracy on test that the model must be shown to have, 0..1.
      class_floor: accuracy of each class on test that its errors must not contradict, 0..1.
      max_drop: largest loss of accuracy against the baseline, 0..1; of a small test split, more
        (`least_max_drop`).
      mean_intensity: smallest and largest mean of one image that is no defect, 0..1.
      max_label_noise: largest share of wrong training labels, of all and of each class, 0..1.
      slices: groups of test images that are checked like classes.
    """

    floor: float
    class_floor: float
    max_drop: float
    mean_intensity: tuple[float, float]
    max_label_noise: float = 0.03
    slices: tuple[Bands, ...] = ()


# Of a set whose images nobody has measured, only a blank one can be told.
_ANY_BUT_BLANK = (0.0001, 0.9999)
# Thin, medium and bold digits: the thirds of the training images.
_STROKES = (Bands("mean_intensity", (0.11, 0.147)),)

DATASET_DEFAULTS: Mapping[str, DatasetDefaults] = {
    "mnist_sample": DatasetDefaults(0.96, 0.88, 0.003, (0.01, 0.50), 0.005, _STROKES),
    "mnist": DatasetDefaults(0.99, 0.97, 0.0032, (0.01, 0.50), 0.005, _STROKES),
    "fashion_mnist": DatasetDefaults(0.90, 0.65, 0.01, (0.01, 0.88), 0.005),
    "kmnist": DatasetDefaults(0.94, 0.88, 0.007, _ANY_BUT_BLANK),
    "emnist/balanced": DatasetDefaults(0.84, 0.45, 0.01, _ANY_BUT_BLANK),
    "cifar10": DatasetDefaults(0.65, 0.40, 0.02, _ANY_BUT_BLANK),
}
# An unknown set must be good, or its owner must say what is good enough.
UNKNOWN_SET = DatasetDefaults(0.95, 0.85, 0.003, _ANY_BUT_BLANK)

_LEAST_ERRORS = 20  # images


def least_max_drop(test_rows: int) -> float:
    """Returns the smallest `max_drop` for a size of the test split, 0..1: the share of 20 images.

    With a smaller one the gate would refuse models that are as good as the baseline.
    """
    return min(1.0, _LEAST_ERRORS / test_rows)


def defaults_of(dataset: str) -> DatasetDefaults:
    """Returns the defaults of the data set of that name, or those of an unknown one."""
    return DATASET_DEFAULTS.get(dataset, UNKNOWN_SET)


def policy_for(gate: GateConfig, dataset: str, *, num_classes: int, test_rows: int) -> Policy:
    """Returns the thresholds of the data set, replaced by those that were set."""
    defaults = defaults_of(dataset)
    given = _given(gate)
    floor = given.get("floor", defaults.floor)
    own = {
        "floor": floor,
        "class_floor": defaults.class_floor,
        "max_cross_entropy": promised_cross_entropy(floor, num_classes),
        "max_drop": max(defaults.max_drop, least_max_drop(test_rows)),
        "slices": defaults.slices,
    }
    return Policy(**{**own, **given})


def policy_of(gate: GateConfig, dataset: DatasetInfo) -> Policy:
    """Returns the `policy_for` a data set that is known."""
    return policy_for(
        gate, dataset.name, num_classes=dataset.num_classes, test_rows=dataset.test_rows
    )


def bounds_for(data_gate: DataGateConfig, dataset: str) -> DataBounds:
    """Returns the bounds of the data set, replaced by those that were set."""
    defaults = defaults_of(dataset)
    low, high = defaults.mean_intensity
    own = {
        "min_mean_intensity": low,
        "max_mean_intensity": high,
        "max_label_noise": defaults.max_label_noise,
    }
    return DataBounds(**{**own, **_given(data_gate)})


def _given(config: GateConfig | DataGateConfig) -> dict[str, Any]:
    return {name: value for name, value in vars(config).items() if value is not None}


def weakened(gate: GateConfig, dataset: DatasetInfo) -> tuple[str, ...]:
    """Returns the keys that were set so that a model may ship which would be refused otherwise.

    Thresholds count for the data sets of the table: another set has the policy that its owner sets.
    """
    keys = ["allow_missing_baseline"] if gate.allow_missing_baseline else []
    if dataset.name in DATASET_DEFAULTS:
        own = vars(policy_of(GateConfig(), dataset))
        given = own | _given(gate)
        lower = ("floor", "class_floor")
        higher = ("max_cross_entropy", "max_drop", "min_slice_rows")
        # More slices weaken the tests of all others, which are one family; a higher confidence
        # those that refuse what is shown to be worse. A smaller budget weakens the first
        # decisions, and a larger one the late ones.
        other = ("slices", "confidence", "test_budget")
        keys += [name for name in lower if given[name] < own[name]]
        keys += [name for name in higher if given[name] > own[name]]
        keys += [name for name in other if given[name] != own[name]]
    return tuple(f"gate.{key}" for key in keys)
