"""The configuration of a run, as frozen dataclasses that check themselves.

Synopsis::

    config = RunConfig(dataset="idx:DIR", gate=GateConfig(floor=0.995))
    RunConfig(seed=-1)      # ValueError: seed is -1, expected a whole number from 0 to 2147483647

`config_model.build` takes the preset's hyper-parameters, and the defaults of plugins'. `RunConfig`
itself does neither: without `training` it has the defaults of `HParams`, whatever `preset` says.

A key is a field of `RunConfig`, or `section.field` for a field of one of its sections.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from itertools import pairwise
from pathlib import Path

from components.data_gate.bounds import DataGateConfig
from components.example_gen.data_config import DataConfig
from components.gate.policy import GateConfig
from components.serving_dir.version import Sign, Trust
from components.signing import own_truster, signer, truster
from pipeline.presets import PRESETS, fitted, takes_residual
from pipeline.stores import is_uri, require_form
from trainer.host.errors import Refusal
from trainer.host.fields import check, setting
from trainer.host.text import quoted
from trainer.hparams import HParams
from trainer.tuning.settings import TuningConfig

SERVING = "serving"  # where the serving directories are, below the pipeline root

_MOST_NAMED = 20  # values of a feature, in a message
# What a feature is that cannot be cut as it was asked for, by the kinds of `DatasetInfo.features`.
_KINDS = {
    "str": ", which is text (one value such as 007 or unknown makes a whole CSV column text)",
    "float32": ", which has fractions",
}


class ConfigError(Refusal, ValueError):
    """A key or value cannot be used; the message is one line for the user."""


@dataclasses.dataclass(frozen=True)
class ServingConfig:
    """The bounds of the serving check, and its server; each field describes itself."""

    max_p99_latency_ms: float = setting(
        250.0, "largest time that 99 of 100 requests for one image may take", gt=0
    )
    max_memory_mib: float = setting(
        2048.0, "largest resident memory of the server's process at its peak", gt=0
    )
    model_server: str = setting(
        "",
        "path of tensorflow_model_server; empty takes the one on the PATH, or if there is none "
        "TensorFlow's own loader",
        is_path=True,
    )
    signing_key: str = setting(
        "",
        "file with the private key, PEM on an elliptic curve, that signs each release; empty signs "
        "none",
        is_path=True,
    )
    public_key: str = setting(
        "",
        "file with its public key; a served version that this key has not signed is no baseline "
        "and is never restored; empty asks for no signature",
        is_path=True,
    )

    def __post_init__(self) -> None:
        check(self, "serving")

    @property
    def keys(self) -> dict[str, str]:
        """The paths of both keys by the names of their fields; an empty one for none."""
        return {"signing_key": self.signing_key, "public_key": self.public_key}

    @property
    def sign(self) -> Sign | None:
        """What signs releases; raises KeyRefused."""
        return signer(Path(self.signing_key)) if self.signing_key else None

    @property
    def trust(self) -> Trust | None:
        """What checks signatures; raises KeyRefused."""
        return truster(Path(self.public_key)) if self.public_key else None

    @property
    def trust_again(self) -> Trust | None:
        """What checks the files that are signed again; without a public key it takes those that are
        unsigned, or signed by the signing key. Raises KeyRefused.
        """
        if self.public_key or not self.signing_key:
            return self.trust
        return own_truster(Path(self.signing_key))


@dataclasses.dataclass(frozen=True)
class CardConfig:
    """What only people know, for the model card of each version; each field describes itself."""

    owner: str = setting("", "who answers for the model, for its model card")
    intended_use: str = setting("", "what the model is meant for, for its model card")
    license: str = setting("", "the model's license, for its model card: an SPDX identifier")

    def __post_init__(self) -> None:
        check(self, "card")


@dataclasses.dataclass(frozen=True)
class HooksConfig:
    """Commands that are told the outcome, see `pipeline.hooks`; each field describes itself."""

    released: tuple[str, ...] = setting(
        (), "command to run after a release, with the JSON of --json on its stdin", is_command=True
    )
    refused: tuple[str, ...] = setting(
        (), "command to run after a gate refused the data or the model", is_command=True
    )
    failed: tuple[str, ...] = setting(
        (), "command to run after a run failed or could not start", is_command=True
    )
    rolled_back: tuple[str, ...] = setting(
        (), "command to run after a rollback that was given this configuration", is_command=True
    )
    timeout_s: float = setting(30.0, "seconds after which a command is killed", gt=0, le=3600)

    def __post_init__(self) -> None:
        check(self, "hooks")


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """One run of the pipeline; each field describes itself."""

    preset: str = setting(
        "quick",
        f"preset from which the training section starts: {', '.join(PRESETS)}",
        choices=PRESETS,
    )
    dataset: str = setting("mnist_sample", "the images")
    data_dir: str | None = setting(
        None, "directory of tensorflow-datasets; none for its default", is_path=True
    )
    pipeline_root: str = setting("pipeline_root", "directory in which the run writes", is_path=True)
    serving_dir: str | None = setting(
        None,
        "the directory that the server watches; none for one per data set below pipeline_root",
        is_path=True,
    )
    artifacts: str | None = setting(
        None,
        "where the components' outputs are kept: a directory, s3://BUCKET/DIR or gs://BUCKET/DIR; "
        "none for pipeline_root",
        is_path=True,
    )
    seed: int = setting(
        0, "seed of the weights, the order of examples and the augmentation", ge=0, le=2**31 - 1
    )
    replicas: int = setting(
        0,
        "number of devices that train; 0 takes all GPUs or, without GPUs, one CPU",
        ge=0,
        hint="0 is automatic",
    )
    cache: bool = setting(True, "whether to take over results of earlier runs with the same inputs")
    hold: bool = setting(
        False,
        "whether a model that passes every check waits for `tfx-mnist approve` instead of being "
        "released",
    )
    reason: str | None = setting(
        None, "reason for keys that weaken the data set's own policy; kept with the release"
    )
    beam_args: tuple[str, ...] = setting((), "further arguments of every Beam pipeline")
    allow_unproven_runner: bool = setting(
        False, "whether beam_args may name a runner that was not seen to compute right results"
    )
    data: DataConfig = DataConfig()
    training: HParams = HParams()
    # The fields of `training` that were given, and not taken from the preset; None for all.
    given: frozenset[str] | None = None
    tuning: TuningConfig = TuningConfig()
    gate: GateConfig = GateConfig()
    data_gate: DataGateConfig = DataGateConfig()
    serving: ServingConfig = ServingConfig()
    card: CardConfig = CardConfig()
    hooks: HooksConfig = HooksConfig()

    @property
    def metadata_path(self) -> Path:
        """The pipeline root's ML Metadata database."""
        return Path(self.pipeline_root).absolute() / "metadata.sqlite"

    def __post_init__(self) -> None:
        check(self, "")
        for name in ("pipeline_root", "serving_dir"):
            value = getattr(self, name)
            if value is not None and "://" in value:
                raise ValueError(
                    f"{name} is {quoted(value)}, expected a directory of this machine: locks and "
                    "renames need one; --artifacts URI keeps what the components hand on in an "
                    "object store"
                )
        if self.artifacts and is_uri(self.artifacts):
            require_form(self.artifacts)
        for before, word in pairwise(("", *self.beam_args)):
            if not word.startswith("-") and ("=" in before or not before.startswith("-")):
                raise ValueError(
                    f"beam_args has the word {quoted(word)}, expected Beam's options, such as "
                    "--direct_num_workers=2"
                )

    def require_slices(
        self, features: Mapping[str, str], known: Mapping[str, Collection[str]]
    ) -> None:
        """Raises ConfigError if a slice needs a feature that is missing or of another type, or has
        a value that no test image has.

        `features` are those of `DatasetInfo`, `known` the `ImageSet.test_values`.
        """
        for one in self.gate.slices or ():
            fitting = [name for name, kind in features.items() if one.takes(kind)]
            if one.feature not in fitting:
                is_ = _KINDS.get(features.get(one.feature, ""), "")
                raise ConfigError(
                    f"gate.slices names the feature {one.feature!r}{is_}, expected {one.wanted}; "
                    f"the examples have {', '.join(fitting)}"
                )
            values = known.get(one.feature)
            for name in one.named:
                if values is not None and name.partition("=")[2] not in values:
                    shown = ", ".join(map(quoted, sorted(values)[:_MOST_NAMED]))
                    more = len(values) - _MOST_NAMED
                    raise ConfigError(
                        f"gate.slices names {quoted(name)}, which no test image has, expected "
                        f"{shown}" + (f" or one of {more:,} more" if more > 0 else "")
                    )

    def fitted(self, image_shape: tuple[int, int, int]) -> RunConfig:
        """Returns the configuration with the preset's values for images of that shape."""
        if self.given is None:
            return self
        training = fitted(self.preset, self.training, image_shape, given=self.given)
        return dataclasses.replace(self, training=training)

    def chosen(self, image_shape: tuple[int, int, int]) -> str:
        """Returns a line about the network if the preset has chosen it for the images, or ""."""
        named = self.given is None or "architecture" in self.given
        if named or not takes_residual(self.preset, image_shape):
            return ""
        shape = "x".join(map(str, image_shape))
        line = f"residual, chosen by the preset {self.preset} for images of {shape}"
        if self.fitted(image_shape).training.horizontal_flip:
            line += "; training mirrors them (training.horizontal_flip)"
        return line

    def served_from(self, slug: str) -> Path:
        """Returns the absolute directory that the server of a data set's slug watches."""
        return Path(self.serving_dir or Path(self.pipeline_root, SERVING, slug)).absolute()
