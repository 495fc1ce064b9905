"""Everything that a run can be told, as frozen dataclasses that check themselves.

Synopsis::

    config = build(preset="fast", overrides={"dataset": "idx:DIR", "gate.floor": "0.995"})
    config.training.epochs          # from the preset
    # The data set's thresholds, then what was set:
    policy_for(config.gate, "mnist", num_classes=10, test_rows=10_000)

A key is a field of `RunConfig`, or `section.field` for a field of one of its sections. Presets
come first, then a YAML file, then flags.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from components.gate.policy import GateConfig, Policy, promised_cross_entropy
from components.gate.slices import Bands
from trainer.host import paths
from trainer.host.text import quoted
from trainer.hparams import HParams
from trainer.tuning.settings import TuningConfig

SERVING = "serving"  # where the serving directories are, below the pipeline root

# Keys whose value is a path of this machine.
_DIRECTORIES = ("data_dir", "pipeline_root", "serving_dir")
_PATHS = (*_DIRECTORIES, "serving.model_server")  # which is empty where it is to be looked for


class ConfigError(ValueError):
    """A key or value that cannot be used; the message is one line for the user."""


@dataclasses.dataclass(frozen=True)
class KnownSet:
    """Defaults for a data set: a policy (docs/gate.md), and facts about its images (docs/data.md).

    Attributes:
      floor: accuracy on test that the model must be shown to have, 0..1.
      class_floor: accuracy of each class on test that its errors must not contradict, 0..1.
      max_drop: largest loss of accuracy against the served model, 0..1; of a small test split, more
        (`drop_in_sight`).
      mean_intensity: smallest and largest mean of one image that is no defect, 0..1.
      max_label_noise: largest share of wrong training labels, of all and of each class, 0..1.
      slices: groups of test images that are held like classes.
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

KNOWN_SETS: Mapping[str, KnownSet] = {
    "mnist_sample": KnownSet(0.96, 0.88, 0.003, (0.01, 0.50), 0.005, _STROKES),
    "mnist": KnownSet(0.99, 0.97, 0.0032, (0.01, 0.50), 0.005, _STROKES),
    "fashion_mnist": KnownSet(0.90, 0.65, 0.01, (0.01, 0.88)),
    "kmnist": KnownSet(0.94, 0.88, 0.007, _ANY_BUT_BLANK),
    "emnist/balanced": KnownSet(0.84, 0.45, 0.01, _ANY_BUT_BLANK),
    "cifar10": KnownSet(0.65, 0.40, 0.02, _ANY_BUT_BLANK),
}
# An unknown set must be good, or its owner must say what is good enough.
UNKNOWN_SET = KnownSet(0.95, 0.85, 0.003, _ANY_BUT_BLANK)


_DROP_IN_SIGHT = 20  # images


def drop_in_sight(test_rows: int) -> float:
    """The least `max_drop` that a test split of that size bears, 0..1: the share of 20 images.

    The split cannot show of any model that it loses less than that. With a smaller `max_drop` the
    gate would refuse models that are as good as the served one.
    """
    return min(1.0, _DROP_IN_SIGHT / test_rows)


def known_set(name: str) -> KnownSet:
    """The defaults of the set of that name, or those of an unknown one."""
    return KNOWN_SETS.get(name, UNKNOWN_SET)


def policy_for(gate: GateConfig, dataset: str, *, num_classes: int, test_rows: int) -> Policy:
    """The data set's own thresholds, with what was set in place of them.

    Args:
      gate: what was set.
      dataset: name of the data set.
      num_classes: at least 2.
      test_rows: size of its test split, 1 or more.
    """
    known = known_set(dataset)
    given = {name: value for name, value in vars(gate).items() if value is not None}
    own = {
        "floor": known.floor,
        "class_floor": known.class_floor,
        "max_cross_entropy": promised_cross_entropy(given.get("floor", known.floor), num_classes),
        "max_drop": max(known.max_drop, drop_in_sight(test_rows)),
        "slices": known.slices,
    }
    return Policy(**{**own, **given})


@dataclasses.dataclass(frozen=True)
class DataGateConfig:
    """Bounds of the data gate; None takes the data set's own (`KNOWN_SETS`).

    Attributes:
      min_mean_intensity: an image that is darker on average is called blank, 0..1.
      max_mean_intensity: an image that is brighter on average is called inverted, 0..1.
      max_class_drift: largest change of any class's share of `train` against the last released
        run (L-infinity), 0..1.
      max_train_test_overlap: largest fraction of the test images that may stand in train or eval
        as well, pixel by pixel or nearly, 0..1.
      max_label_noise: largest share of wrong labels in train and eval, of all and of each class,
        0..1.
    """

    min_mean_intensity: float | None = None
    max_mean_intensity: float | None = None
    max_class_drift: float = 0.05
    max_train_test_overlap: float = 0.01
    max_label_noise: float | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None and not 0.0 <= value <= 1.0:
                raise ValueError(f"data_gate.{field.name} is {value}, expected 0 to 1")

    def mean_intensity(self, dataset: str) -> tuple[float, float]:
        """Smallest and largest mean intensity of one image for the data set of that name."""
        low, high = known_set(dataset).mean_intensity
        return (
            low if self.min_mean_intensity is None else self.min_mean_intensity,
            high if self.max_mean_intensity is None else self.max_mean_intensity,
        )

    def label_noise(self, dataset: str) -> float:
        """Largest share of wrong labels for the data set of that name."""
        if self.max_label_noise is None:
            return known_set(dataset).max_label_noise
        return self.max_label_noise


@dataclasses.dataclass(frozen=True)
class ServingConfig:
    """The serving check: its bounds, and the server that it starts.

    Attributes:
      max_p99_latency_ms: largest time that 99 of 100 requests for one image may take.
      max_memory_mib: largest resident memory of the server's process at its peak.
      model_server: path of tensorflow_model_server; where it is empty, the one on the PATH is used,
        and TensorFlow's own loader where there is none.
    """

    max_p99_latency_ms: float = 250.0
    max_memory_mib: float = 2048.0
    model_server: str = ""

    def __post_init__(self) -> None:
        for name in ("max_p99_latency_ms", "max_memory_mib"):
            value = getattr(self, name)
            if not 0.0 < value < math.inf:
                raise ValueError(f"serving.{name} is {value}, expected a finite number above 0")


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """One run of the pipeline.

    Attributes:
      preset: where the training section started from.
      dataset: what `--dataset` takes: "mnist_sample", a tensorflow-datasets name or "idx:DIR".
      data_dir: tensorflow-datasets' own directory; None for its default.
      pipeline_root: where the run writes.
      serving_dir: the directory that the server watches; None for one per data set below
        `pipeline_root`.
      seed: of weights, order and augmentation.
      replicas: devices that train; 0 for all GPUs, or one CPU where there are none.
      cache: whether results of an earlier run with the same inputs are taken over.
      beam_args: further arguments of every Beam pipeline.
      training: hyper-parameters.
      tuning: the search for better ones before the training.
      gate: thresholds of the release gate.
      data_gate: bounds of the data gate.
      serving: the serving check.
    """

    preset: str = "quick"
    dataset: str = "mnist_sample"
    data_dir: str | None = None
    pipeline_root: str = "pipeline_root"
    serving_dir: str | None = None
    seed: int = 0
    replicas: int = 0
    cache: bool = True
    beam_args: tuple[str, ...] = ()
    training: HParams = HParams()
    tuning: TuningConfig = TuningConfig()
    gate: GateConfig = GateConfig()
    data_gate: DataGateConfig = DataGateConfig()
    serving: ServingConfig = ServingConfig()

    def __post_init__(self) -> None:
        if self.replicas < 0:
            raise ValueError(f"replicas is {self.replicas}, expected 0 (automatic) or more")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed is {self.seed}, expected 0 to {2**31 - 1}")
        for name in ("pipeline_root", "serving_dir"):
            value = getattr(self, name)
            if value is not None and "://" in value:
                raise ValueError(
                    f"{name} is {quoted(value)}, expected a directory of this machine: locks and "
                    "renames need one; runs that keep their artifacts in an object store are "
                    "Kubeflow's, see tfx-mnist kubeflow compile --help"
                )

    @property
    def datasets_dir(self) -> Path:
        """Where prepared data sets stay between runs, absolute."""
        return Path(self.pipeline_root).absolute() / "datasets"

    def served_from(self, slug: str) -> Path:
        """The directory that the server watches, absolute.

        Args:
          slug: of the data set, see `components.example_gen.spec.slug`.
        """
        return Path(self.serving_dir or Path(self.pipeline_root, SERVING, slug)).absolute()


def build(preset: str, overrides: Mapping[str, Any]) -> RunConfig:
    """The preset's configuration with `overrides` on top.

    Args:
      preset: a name in `pipeline.presets.PRESETS`.
      overrides: values by key, such as {"seed": 3, "training.epochs": "5"}; a string is read as
        the field's type, so flags and YAML take the same way. Later keys win.

    Raises:
      ConfigError: an unknown preset or key (the line names the nearest one), or a bad value.
    """
    from pipeline.presets import PRESETS

    if preset not in PRESETS:
        raise ConfigError(unknown("preset", preset, PRESETS))
    config = dataclasses.replace(PRESETS[preset](), preset=preset)
    fields = dict(_fields(RunConfig))
    for key, value in overrides.items():
        if key not in keys():
            raise ConfigError(unknown("key", key, keys()))
        section, _, name = key.rpartition(".")
        try:
            parsed = _parse(fields[key], value)
            if (key in _DIRECTORIES and parsed is not None) or (key in _PATHS and parsed):
                parsed = paths.expanded(parsed)
            change = {name: parsed}
        except ConfigError:
            raise
        except ValueError as error:
            raise ConfigError(f"{key} is {quoted(value)}, expected {error}") from None
        try:
            if section:
                change = {section: dataclasses.replace(getattr(config, section), **change)}
            config = dataclasses.replace(config, **change)
        except ValueError as error:
            raise ConfigError(str(error)) from None
    return config


def keys() -> list[str]:
    """Every key that `build` takes."""
    return [name for name, _ in _fields(RunConfig) if name != "preset"]


def keys_of(section: str) -> list[str]:
    """Those of one section, such as "gate"."""
    return [key for key in keys() if key.startswith(f"{section}.")]


def flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings, as YAML gives them, as one with dotted keys; a section of None is empty.

    Raises:
      ConfigError: a key stands there twice, such as `gate.floor` and `floor` below `gate`.
    """
    sections = {key.partition(".")[0] for key in keys() if "." in key}
    flat: dict[str, Any] = {}
    for key, value in _flat(tree):
        if key in flat:
            raise ConfigError(f"{key} is given twice, expected once; remove one of them")
        if value is not None or key not in sections:
            flat[key] = value
    return flat


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def unknown(what: str, given: str, known: typing.Iterable[str]) -> str:
    """The line for a name that does not exist, with the nearest one that does."""
    names = sorted(known)
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.0)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {what} {quoted(given)}: {hint}known are {', '.join(names)}"


def _fields(cls: type) -> Iterator[tuple[str, Any]]:
    """(dotted key, type) of every value below a configuration class."""
    for name, kind in typing.get_type_hints(cls).items():
        if dataclasses.is_dataclass(kind):
            yield from ((f"{name}.{key}", inner) for key, inner in _fields(typing.cast(type, kind)))
        else:
            yield name, kind


def _parse(kind: Any, value: Any) -> Any:
    """`value` as `kind`; the ValueError says what was expected.

    Slices are one text such as "mean_intensity:0.1,0.15;height:20"; "" stands for none.
    """
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        if value is None or value in ("none", "null"):
            return None
        (kind,) = (inner for inner in typing.get_args(kind) if inner is not type(None))
    if kind == tuple[Bands, ...]:
        try:
            return tuple(map(Bands.parse, filter(None, _str(value).split(";"))))
        except ValueError as error:
            raise ConfigError(f"gate.slices: {error}") from None
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise ValueError("a list of strings")
        return tuple(value)
    return _SCALARS[kind](value)


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError("true or false")


def _int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("a whole number")
    try:
        number = int(value)
    except ValueError:
        raise ValueError("a whole number") from None
    if abs(number) >= 2**63:
        raise ValueError("a whole number of 64 bits")
    return number


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("a number")
    try:
        return float(value)
    except (ValueError, OverflowError):  # OverflowError: an int with more than 308 digits
        raise ValueError("a number") from None


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a string")
    if not paths.is_utf8(value):
        raise ValueError("text in UTF-8: ML Metadata takes no other")
    return value


_SCALARS: Mapping[Any, Callable[[Any], Any]] = {bool: _bool, int: _int, float: _float, str: _str}
