"""The release policy: the thresholds for a model, and how decisions share the error.

Synopsis::

    policy = Policy(floor=0.99, class_floor=0.97, max_cross_entropy=0.08, max_drop=0.003)
    policy.release_alpha(1)     # 0.00455: of the first decision on a test set
    policy.release_alpha(100)   # 0.00004: of the hundredth; those of all decisions sum to 0.05
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from components.gate import slices
from components.gate.slices import Slices
from trainer import features
from trainer.host.fields import check, fraction, setting
from trainer.host.text import quoted

_FRACTION = "0.99 stands for 99 %"
# The features of each example by which slices can be cut, and their kind; a data set may have
# further ones.
FEATURES = {
    features.CHANNELS: "int64",
    features.HEIGHT: "int64",
    features.LABEL: "int64",
    features.MEAN_INTENSITY: "float32",
    features.WIDTH: "int64",
}


@dataclasses.dataclass(frozen=True)
class GateConfig:
    """The thresholds of the release gate: the keys `gate.*`. docs/gate.md gives the reasons.

    None stands for the data set's own value (`pipeline.dataset_defaults.policy_for`). `extra` holds
    the thresholds of plugins' checks by name.
    """

    floor: float | None = fraction(
        None,
        "lowest accuracy over all test images; its lower confidence bound must reach this (none: "
        "the data set's own)",
        hint=_FRACTION,
    )
    class_floor: float | None = fraction(
        None,
        "lowest accuracy of a class or slice; one that is significantly lower is refused (none: "
        "the data set's own)",
        hint=_FRACTION,
    )
    max_cross_entropy: float | None = setting(
        None,
        "largest mean cross-entropy over all test images, nats (none: that of a model as accurate "
        "as the floor)",
        ge=0,
    )
    max_drop: float | None = fraction(
        None,
        "largest drop of accuracy against the baseline; its upper confidence bound must not exceed "
        "this (none: the data set's own)",
        hint=_FRACTION,
    )
    slices: tuple[Slices, ...] | None = setting(
        None,
        "further groups of images that are held to class_floor, such as "
        "mean_intensity:0.1,0.15;camera=front,rear (none: the data set's own; empty: no slices)",
    )
    must_improve: bool = setting(
        False,
        "whether a model must be shown to be better than the baseline, instead of not to be worse",
    )
    min_slice_rows: int = setting(100, "a slice with fewer images is not judged", ge=1)
    confidence: float = setting(
        0.95,
        "1 - confidence is alpha: the bound of the probability that any decision on one test set "
        "releases a bad model, and the level of each family of tests that refuses one",
        gt=0.5,
        lt=1,
        hint="0.95 stands for 95 %",
    )
    test_budget: int = setting(
        10,
        "decisions on one test set that are planned for: they may spend half of alpha, all "
        "further ones together the other half",
        ge=1,
    )
    allow_missing_baseline: bool = setting(
        False, "whether a model may be released although the served model cannot be read"
    )
    require_baseline: bool = setting(
        False, "whether a model is refused if there is no served model to compare it with"
    )
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        check(self, "gate", GateConfig)
        given = self.slices or ()
        if not (isinstance(given, tuple) and all(isinstance(one, Slices) for one in given)):
            raise ValueError(
                f"gate.slices is {quoted(given)}, expected a tuple of slices: make them of text "
                f"with {slices.__name__}.parse"
            )
        cut = [one.feature for one in given]
        if len(set(cut)) != len(cut):
            raise ValueError("gate.slices names a feature twice, expected one list for each")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Policy(GateConfig):
    """A `GateConfig` for one data set, with every value known."""

    # A field of its own each, or the None of `GateConfig` would stay its default.
    floor: float = dataclasses.field()
    class_floor: float = dataclasses.field()
    max_cross_entropy: float = dataclasses.field()
    max_drop: float = dataclasses.field()
    slices: tuple[Slices, ...] = ()

    @property
    def alpha(self) -> float:
        """The level of each test, and of each family of tests."""
        # 1 - 0.95 is 0.05000000000000004. Of the highest confidences nothing would be left.
        return round(1.0 - self.confidence, 12) or 1.0 - self.confidence

    @property
    def allowed_error(self) -> float:
        return round(1.0 - self.class_floor, 12)

    def release_alpha(self, decision: int) -> float:
        """The level alpha_k of the k-th decision on a test set, k from 1; docs/gate.md derives it.

        It releases a bad model with at most this probability, and all together with at most alpha.
        """
        budget = self.test_budget
        return self.alpha * budget / ((decision + budget - 1) * (decision + budget))

    def to_config(self) -> dict[str, Any]:
        """JSON-able, for TFX's parameters and the release record."""
        return {**dataclasses.asdict(self), "slices": [str(one) for one in self.slices]}

    @property
    def digest(self) -> str:
        """The hexadecimal SHA-256 of the thresholds."""
        return hashlib.sha256(json.dumps(self.to_config(), sort_keys=True).encode()).hexdigest()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Policy:
        return cls(**{**config, "slices": tuple(map(slices.parse, config["slices"]))})


def promised_cross_entropy(floor: float, num_classes: int) -> float:
    """The cross-entropy, in nats, of a model that is as good as the floor and knows it.

    docs/gate.md states the formula and its reason. A floor below chance counts as chance.
    """
    f = max(floor, 1.0 / num_classes)
    if f >= 1.0:
        return 0.0
    return -f * math.log(f) - (1.0 - f) * math.log((1.0 - f) / (num_classes - 1))
