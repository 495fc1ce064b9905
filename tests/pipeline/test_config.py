import pytest

from components.gate import accuracy
from components.gate.evidence import Tally
from components.gate.policy import GateConfig
from components.gate.slices import Bands
from pipeline.config import ConfigError, DataGateConfig, RunConfig
from pipeline.config_model import build, flatten, keys
from pipeline.dataset_defaults import DATASET_DEFAULTS, UNKNOWN_SET, defaults_of, policy_for


@pytest.mark.parametrize(
    ("key", "given", "value"),
    [
        ("seed", "3", 3),
        ("seed", 3, 3),
        ("cache", "false", False),
        ("cache", True, True),
        ("data_dir", "none", None),
        ("data_dir", None, None),
        ("data_dir", "somewhere", "somewhere"),
        ("beam_args", ["--a=1", "--b"], ("--a=1", "--b")),
    ],
)
def test_a_value_is_read_as_its_fields_type(key: str, given: object, value: object) -> None:
    assert getattr(build("quick", {key: given}), key) == value


@pytest.mark.parametrize(
    ("key", "given", "line"),
    [
        ("seed", "x", "seed is 'x', expected a whole number from 0 to 2147483647"),
        ("seed", True, "seed is True, expected a whole number from 0 to 2147483647"),
        ("replicas", 1.5, "replicas is 1.5, expected a whole number, 0 or more: 0 is automatic"),
        ("seed", "-1", "seed is '-1', expected a whole number from 0 to 2147483647"),
        ("seed", 2**31, "seed is 2147483648, expected a whole number from 0 to 2147483647"),
        ("replicas", "-2", "replicas is '-2', expected a whole number, 0 or more: 0 is automatic"),
        ("cache", "yes", "cache is 'yes', expected true or false"),
        ("dataset", 7, "dataset is 7, expected a string"),
        ("dataset", None, "dataset is None, expected a string"),
        ("beam_args", "--a", "beam_args is '--a', expected a list of strings"),
        ("beam_args", 3, "beam_args is 3, expected a list of strings"),
        ("beam_args", [3], "beam_args is [3], expected a list of strings"),
        (
            "training.learning_rate",
            "fast",
            "training.learning_rate is 'fast', expected a number above 0",
        ),
        (
            "training.patience",
            str(2**63),
            "training.patience is '9223372036854775808', expected a whole number of 64 bits",
        ),
        ("training.epochs", "0", "training.epochs is '0', expected a whole number, 1 or more"),
        ("training.dropout", "1", "training.dropout is '1', expected a number from 0 to below 1"),
        (
            "training.optimizer",
            "adm",
            "training.optimizer is 'adm', expected one of adam, adadelta",
        ),
        (
            "gate.floor",
            "99",
            "gate.floor is '99', expected a number from 0 to 1: 0.99 stands for 99 %",
        ),
        (
            "gate.floor",
            "nan",
            "gate.floor is 'nan', expected a number from 0 to 1: 0.99 stands for 99 %",
        ),
        (
            "data_gate.max_class_drift",
            "-0.1",
            "data_gate.max_class_drift is '-0.1', expected a number from 0 to 1",
        ),
        (
            "serving.max_p99_latency_ms",
            "0",
            "serving.max_p99_latency_ms is '0', expected a number above 0",
        ),
        (
            "serving.max_memory_mib",
            "nan",
            "serving.max_memory_mib is 'nan', expected a number above 0",
        ),
    ],
)
def test_a_bad_value_is_refused_in_one_line(key: str, given: object, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build("quick", {key: given})
    assert str(caught.value) == line


@pytest.mark.parametrize("key", ["pipeline_root", "serving_dir"])
def test_an_object_store_is_no_directory_to_run_in(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build("quick", {key: "gs://bucket/x"})
    assert str(caught.value) == (
        f"{key} is 'gs://bucket/x', expected a directory of this machine: locks and renames need "
        "one; runs that keep their artifacts in an object store are Kubeflow's, see tfx-mnist "
        "kubeflow compile --help"
    )


def test_a_number_too_large_for_a_float_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a number"):
        build("quick", {"gate.floor": 10**400})


@pytest.mark.parametrize(
    ("key", "near"),
    [("sed", "seed"), ("gate.flor", "gate.floor"), ("training.epoch", "training.epochs")],
)
def test_an_unknown_key_names_the_nearest_one(key: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown key '{key}': did you mean '{near}'"):
        build("quick", {key: "1"})


def test_a_section_is_no_key() -> None:
    with pytest.raises(ConfigError, match="unknown key 'gate'"):
        build("quick", {"gate": None})


def test_the_preset_is_no_key_of_build() -> None:
    with pytest.raises(ConfigError, match="unknown key 'preset'"):
        build("quick", {"preset": "fast"})


def test_an_unknown_preset_names_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="unknown preset 'fsat': did you mean 'fast'"):
        build("fsat", {})


def test_a_section_keeps_its_other_values() -> None:
    changed = build("article", {"training.epochs": "2"}).training
    assert (changed.epochs, changed.optimizer) == (2, "adadelta")


def test_the_result_says_its_preset() -> None:
    assert build("fast", {}).preset == "fast"


def test_keys_are_those_that_build_takes() -> None:
    assert {"seed", "training.epochs", "gate.floor", "data_gate.max_class_drift"} < set(keys())
    assert {"serving.max_p99_latency_ms", "serving.max_memory_mib"} < set(keys())
    assert not {"preset", "gate", "training", "serving"} & set(keys())


def test_flatten_joins_nested_keys_with_dots() -> None:
    tree = {"seed": 1, "gate": {"floor": 0.9, "max_drop": 0.1}, "training": {}}
    assert flatten(tree) == {"seed": 1, "gate.floor": 0.9, "gate.max_drop": 0.1}


def test_the_gate_takes_the_sets_thresholds_unless_told() -> None:
    known = DATASET_DEFAULTS["fashion_mnist"]
    policy = policy_for(GateConfig(floor=0.5), "fashion_mnist", num_classes=10, test_rows=1000)
    assert (policy.floor, policy.class_floor) == (0.5, known.class_floor)


def test_an_unknown_set_gets_the_strict_thresholds() -> None:
    assert defaults_of("idx_of_mine") is UNKNOWN_SET


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


def test_slices_are_one_text_with_semicolons() -> None:
    both = build("quick", {"gate.slices": "mean_intensity:0.1,0.2;height:20"}).gate
    expected = (Bands("mean_intensity", (0.1, 0.2)), Bands("height", (20.0,)))
    assert policy_for(both, "", num_classes=10, test_rows=1000).slices == expected


def test_a_known_sets_slices_can_be_taken_away() -> None:
    assert policy_for(GateConfig(), "mnist", num_classes=10, test_rows=1000).slices
    assert policy_for(GateConfig(slices=()), "mnist", num_classes=10, test_rows=1000).slices == ()


@pytest.mark.parametrize("key", ["pipeline_root", "serving_dir", "data_dir", "dataset"])
def test_a_path_that_is_no_text_is_refused(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build("quick", {key: "idx:/data-\udcff"})
    assert str(caught.value) == (
        rf"{key} is 'idx:/data-\udcff', expected text in UTF-8: ML Metadata takes no other"
    )


def test_a_bad_slice_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match="a slice is 'weight', expected feature:edge"):
        build("quick", {"gate.slices": "weight"})


def test_the_policys_defaults_are_the_configurations() -> None:
    policy = policy_for(GateConfig(), "mnist", num_classes=10, test_rows=10_000)
    given = {name: value for name, value in vars(GateConfig()).items() if value is not None}
    assert set(vars(policy)) == set(vars(GateConfig()))
    assert given.items() <= vars(policy).items()


def test_none_gives_a_threshold_back_to_the_data_set() -> None:
    config = build("quick", {"gate.floor": "none", "gate.slices": "none"})
    policy = policy_for(config.gate, "mnist", num_classes=10, test_rows=10_000)
    assert (policy.floor, policy.slices) == (
        DATASET_DEFAULTS["mnist"].floor,
        DATASET_DEFAULTS["mnist"].slices,
    )


@pytest.mark.parametrize("name", sorted(DATASET_DEFAULTS))
def test_a_known_sets_defaults_make_a_policy(name: str) -> None:
    assert (
        policy_for(RunConfig().gate, name, num_classes=10, test_rows=1000).class_floor
        <= DATASET_DEFAULTS[name].floor
    )
