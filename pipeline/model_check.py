"""Puts any SavedModel before the release gate, without a run that trained it.

Synopsis::

    result = check_model(config, Asked(Path("their_model"), "serve"), Asked(Path("serving/3")))
    result.passed, result.checks

The test split is read from its source as ExampleGen reads it, both models are asked by their own
signatures, and what comes of that is counted as the Evaluator counts it. Policy, decision and
decision log are those of a run. TensorFlow is imported; TFX, TFMA and Beam are not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components import serving_dir
from components.evaluation.predictions import Answers, ask, require_numbers
from components.evaluation.saved_model import Model, ModelRefused, load, require_saved_model
from components.example_gen import sources
from components.example_gen.arrays import TEST
from components.example_gen.dataset import DatasetInfo, describe
from components.gate import decide
from components.gate.check import Check, passed
from components.gate.decision_log import Decision, policy_digest, register
from components.gate.evidence import Evidence, Provenance
from components.serving_dir import ServingDirError
from pipeline.config import ConfigError, RunConfig
from pipeline.dataset_defaults import policy_for
from pipeline.result import json_able
from trainer import features

_RUN_ID = "gate check"  # what the decision log calls it


@dataclasses.dataclass(frozen=True)
class Asked:
    """A SavedModel's directory, and the signature by which it is asked."""

    path: Path
    signature: str = features.SERVING_DEFAULT


@dataclasses.dataclass(frozen=True)
class Subject:
    """A model that was put before the gate.

    Attributes:
      path: its directory.
      digest: of its files, as its manifest has it where there is one.
      signature: the one that was asked.
      takes: what that takes, such as "PNG bytes".
    """

    path: str
    digest: str
    signature: str
    takes: str


@dataclasses.dataclass(frozen=True)
class ModelCheck:
    """What the gate said.

    Attributes:
      dataset: name, digest (fingerprint of the source), and the test split's rows and digest.
      model: the candidate.
      baseline: what it was compared with; None where none was given.
      evidence: counts on the test split.
      checks: the gate's.
    """

    dataset: Mapping[str, Any]
    model: Subject
    baseline: Subject | None
    evidence: Evidence
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """The decision."""
        return passed(self.checks)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, NaN and infinities as None; the keys are documented and stay."""
        fields = {
            "decision": "passed" if self.passed else "refused",
            "checks": [check.to_dict() for check in self.checks],
            "metrics": self.evidence.metrics,
            "dataset": self.dataset,
            "model": dataclasses.asdict(self.model),
            "baseline": self.baseline and dataclasses.asdict(self.baseline),
        }
        return {key: json_able(value) for key, value in fields.items()}


def check_model(config: RunConfig, model: Asked, baseline: Asked | None = None) -> ModelCheck:
    """Decides on a model, and writes the decision down as a run does.

    Args:
      config: its data set, directories and gate.
      model: the candidate.
      baseline: what it is compared with.

    Raises:
      ModelRefused: a model does not keep the contract, or not its own manifest. That holds for the
        baseline too, whatever the policy says of one that is missing: this one was named.
      DataError: the data source is refused.
      ConfigError: the policy does not fit the examples.
      ServingDirError, DecisionLogError: the serving directory cannot be used.
    """
    model_digest = _digest(model)
    baseline_digest = _digest(baseline) if baseline else None
    builder = sources.resolve(
        config.dataset, data_dir=config.data_dir, cache_dir=str(config.datasets_dir)
    )
    dataset = describe(builder, config.dataset)
    policy = policy_for(
        config.gate, dataset.name, num_classes=dataset.num_classes, test_rows=dataset.test_rows
    )
    try:
        require_numbers(policy.slices)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    directory = config.served_from(dataset.slug)
    serving_dir.versions(directory)  # refused before the models are asked
    candidate = _load(model, dataset)
    served = _load(baseline, dataset) if baseline else None
    answers = ask(builder, dataset, [candidate, served] if served else [candidate])
    evidence = answers.count(dataset.class_names, policy.slices)
    decision = Decision(answers.digest, model_digest, baseline_digest, policy_digest(policy))
    checks = decide.decide(
        evidence,
        policy,
        provenance=Provenance(
            split_rows=builder.info.splits[TEST].num_examples,
            split_digest=answers.digest,
            # A source declares rows and no digest. What was hashed is what was asked about.
            recorded_digest=answers.digest,
            evaluated_model=str(model.path),
            exported_model=str(model.path),
            withdrawn=_withdrawal(directory, model_digest),
        ),
        decision=register(directory, decision, run_id=_RUN_ID),
    )
    return ModelCheck(
        dataset=_described(dataset, answers),
        model=_subject(model, model_digest, candidate),
        baseline=_subject(baseline, baseline_digest, served)
        if baseline and baseline_digest and served
        else None,
        evidence=evidence,
        checks=checks,
    )


def _digest(asked: Asked) -> str:
    """The digest of a model's files.

    Raises:
      ModelRefused: there is no such model, or it does not match its manifest.
    """
    require_saved_model(asked.path)
    manifest, problems = serving_dir.check_manifest(asked.path)
    if problems:
        raise ModelRefused(
            f"the model does not match its manifest: {asked.path}: {'; '.join(problems)}; give a "
            f"whole copy, or one without {serving_dir.MANIFEST_NAME}"
        )
    try:
        return manifest.model_digest if manifest else serving_dir.digest_of(asked.path)
    except ServingDirError as error:
        raise ModelRefused(str(error)) from error


def _load(asked: Asked, dataset: DatasetInfo) -> Model:
    return load(
        asked.path,
        asked.signature,
        image_shape=dataset.image_shape,
        num_classes=dataset.num_classes,
    )


def _withdrawal(directory: Path, model_digest: str) -> str | None:
    withdrawal = serving_dir.withdrawn_digests(directory).get(model_digest)
    return None if withdrawal is None else str(withdrawal)


def _subject(asked: Asked, digest: str, model: Model) -> Subject:
    return Subject(str(asked.path), digest, asked.signature, model.takes)


def _described(dataset: DatasetInfo, answers: Answers) -> dict[str, Any]:
    test = {"rows": len(answers.labels), "digest": answers.digest}
    return {"name": dataset.name, "digest": dataset.fingerprint, "splits": {TEST: test}}
