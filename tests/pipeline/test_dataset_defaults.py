"""Thresholds and facts of data sets, and the policy that they make with what was set."""

import dataclasses

import pytest

from components.data_gate.bounds import DataGateConfig
from components.example_gen.image_set import DatasetInfo
from components.gate import accuracy
from components.gate.evidence import Tally
from components.gate.policy import GateConfig
from components.gate.slices import Bands
from pipeline.config import RunConfig
from pipeline.dataset_defaults import (
    DATASET_DEFAULTS,
    UNKNOWN_SET,
    bounds_for,
    defaults_of,
    policy_for,
    weakened,
)

STROKES = DATASET_DEFAULTS["mnist"].slices


def info(name: str, *, test_rows: int) -> DatasetInfo:
    return DatasetInfo(name, name, "0" * 64, (28, 28, 1), tuple("0123456789"), test_rows)


def test_the_gate_takes_the_sets_thresholds_unless_told() -> None:
    known = DATASET_DEFAULTS["fashion_mnist"]
    policy = policy_for(GateConfig(floor=0.5), "fashion_mnist", num_classes=10, test_rows=1000)
    assert (policy.floor, policy.class_floor) == (0.5, known.class_floor)


def test_an_unknown_set_gets_the_strict_thresholds() -> None:
    assert defaults_of("idx_of_mine") is UNKNOWN_SET


@pytest.mark.parametrize(
    ("rows", "own", "of_mnist"),
    [(60, 20 / 60, 20 / 60), (1_000, 0.02, 0.02), (60_000, 0.003, 0.0032), (7, 1.0, 1.0)],
)
def test_the_drop_that_is_let_pass_is_one_that_the_test_split_can_show(rows, own, of_mnist) -> None:
    for name, max_drop in (("idx_of_mine", own), ("mnist", of_mnist)):
        policy = policy_for(GateConfig(), name, num_classes=10, test_rows=rows)
        assert policy.max_drop == pytest.approx(max_drop)
        # A model that never differs passes.
        assert accuracy.drop_upper(Tally(rows, rows), policy, 1) <= policy.max_drop


def test_a_known_sets_own_drop_comes_first_and_what_is_set_before_it() -> None:
    size = {"num_classes": 10, "test_rows": 10_000}
    assert (
        policy_for(GateConfig(), "cifar10", **size).max_drop == DATASET_DEFAULTS["cifar10"].max_drop
    )
    assert policy_for(GateConfig(max_drop=0.3), "cifar10", **size).max_drop == 0.3


def test_a_known_sets_slices_can_be_taken_away() -> None:
    assert policy_for(GateConfig(), "mnist", num_classes=10, test_rows=1000).slices
    assert policy_for(GateConfig(slices=()), "mnist", num_classes=10, test_rows=1000).slices == ()


def test_the_policys_defaults_are_the_configurations() -> None:
    policy = policy_for(GateConfig(), "mnist", num_classes=10, test_rows=10_000)
    given = {name: value for name, value in vars(GateConfig()).items() if value is not None}
    assert set(vars(policy)) == set(vars(GateConfig()))
    assert given.items() <= vars(policy).items()


@pytest.mark.parametrize("name", sorted(DATASET_DEFAULTS))
def test_a_known_sets_defaults_make_a_policy(name: str) -> None:
    assert (
        policy_for(RunConfig().gate, name, num_classes=10, test_rows=1000).class_floor
        <= DATASET_DEFAULTS[name].floor
    )


@pytest.mark.parametrize(
    ("gate", "keys"),
    [
        (GateConfig(), ()),
        (GateConfig(floor=0.995, class_floor=0.98, max_drop=0.001, max_cross_entropy=0.01), ()),
        (GateConfig(floor=0.98), ("gate.floor",)),
        (GateConfig(class_floor=0.5), ("gate.class_floor",)),
        (GateConfig(max_drop=0.01), ("gate.max_drop",)),
        (GateConfig(max_cross_entropy=1.0), ("gate.max_cross_entropy",)),
        (GateConfig(min_slice_rows=5000), ("gate.min_slice_rows",)),
        (GateConfig(slices=()), ("gate.slices",)),
        (GateConfig(slices=(*STROKES, Bands("height", (14.0,)))), ("gate.slices",)),
        (GateConfig(slices=STROKES), ()),
        (GateConfig(confidence=0.999), ("gate.confidence",)),
        (GateConfig(test_budget=1), ("gate.test_budget",)),  # the first decision: 80 errors, not 74
        (GateConfig(test_budget=20), ("gate.test_budget",)),  # the hundredth: 63, not 62
        (GateConfig(allow_missing_baseline=True), ("gate.allow_missing_baseline",)),
        (GateConfig(must_improve=True, require_baseline=True), ()),
    ],
)
def test_a_key_that_weakens_the_sets_own_policy_is_named(
    gate: GateConfig, keys: tuple[str, ...]
) -> None:
    assert weakened(gate, info("mnist", test_rows=10_000)) == keys


def test_a_set_without_a_policy_of_its_own_has_its_owners() -> None:
    gate = GateConfig(floor=0.1, slices=(), allow_missing_baseline=True)
    assert weakened(gate, info("idx_x", test_rows=100)) == ("gate.allow_missing_baseline",)


@pytest.mark.parametrize("name", ["min_mean_intensity", "max_mean_intensity", "max_label_noise"])
@pytest.mark.parametrize("dataset", ["mnist", "idx_of_mine"])
def test_the_data_gate_takes_the_sets_bounds_unless_one_is_told(dataset: str, name: str) -> None:
    low, high = defaults_of(dataset).mean_intensity
    own = bounds_for(DataGateConfig(), dataset)
    assert (own.min_mean_intensity, own.max_mean_intensity) == (low, high)
    assert own.max_label_noise == defaults_of(dataset).max_label_noise
    for told in (0.2, 0.0):  # zero is a bound and not an absence
        expected = dataclasses.replace(own, **{name: told})
        assert bounds_for(DataGateConfig(**{name: told}), dataset) == expected


def test_a_floor_of_zero_is_one() -> None:
    assert policy_for(GateConfig(floor=0.0), "mnist", num_classes=10, test_rows=1000).floor == 0.0
