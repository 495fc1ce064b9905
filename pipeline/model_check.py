"""Puts any SavedModel before the release gate, without a run.

Synopsis::

    result = check_model(config, Asked(Path("their_model"), "serve"), Asked(Path("serving/3")))
    result.passed, result.checks

Data, counting, policy, decision and decision log are those of a run; the models predict by their
own signatures. Neither TFX, TFMA nor Beam is imported.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path

from components import serving_dir
from components.data_gate.drift_checks import classes_apart
from components.data_gate.duplicates import duplicates_check
from components.evaluation.predictions import predict
from components.evaluation.saved_model import Model, ModelRefused, load, require_saved_model
from components.example_gen.image_set import TEST
from components.example_gen.opening import open_dataset
from components.gate.decide import decide
from components.gate.evidence import Case, Provenance
from components.serving_dir import ServingDirError
from components.serving_dir.decisions import register
from components.serving_dir.log import Decision
from components.serving_dir.manifest import Manifest
from pipeline.config import RunConfig
from pipeline.dataset_defaults import policy_of
from pipeline.places import require_log_place
from pipeline.result import GATE_CHECK, GateResult, JudgedModel
from trainer import features


@dataclasses.dataclass(frozen=True)
class Asked:
    """A SavedModel's directory, and the signature that predicts."""

    path: Path
    signature: str = features.SERVING_DEFAULT


def check_model(config: RunConfig, model: Asked, baseline: Asked | None = None) -> GateResult:
    """Decides on a model, and records the decision like a run.

    Raises:
      ModelRefused: a model does not keep the contract, does not match its manifest, or was
        released for other classes. So is a baseline that was named, even if the policy allows a
        missing one.
      PathRefused, NoServingDir: the decision could not be written down where the configuration
        says.
      ConfigError, DataError: the slices do not fit the data set, or the data source is refused.
      ServingDirError: the serving directory cannot be used.
    """
    candidate, compared = _find(model), _find(baseline) if baseline else None
    found = [candidate, compared] if compared else [candidate]
    image_set = open_dataset(config.dataset, config.data, data_dir=config.data_dir)
    dataset = image_set.info
    for one in found:
        one.require_classes(dataset.class_names)
    config.require_slices(dataset.features, image_set.test_values)
    policy = policy_of(config.gate, dataset)
    directory = config.served_from(dataset.slug)
    require_log_place(config, directory)
    withdrawal = serving_dir.withdrawn_digests(directory).get(candidate.digest)
    shape, classes = dataset.image_shape, dataset.num_classes
    models = [
        load(one.path, one.signature, image_shape=shape, num_classes=classes) for one in found
    ]
    predictions = predict(image_set, models)
    evidence = predictions.evidence(dataset.class_names, policy.slices)
    provenance = Provenance(
        split_rows=dataset.test_rows,
        split_digest=predictions.digest,
        # A source declares rows and no digest: what was predicted is what was hashed.
        recorded_digest=predictions.digest,
        evaluated_model=str(model.path),
        exported_model=str(model.path),
        withdrawn=str(withdrawal) if withdrawal else None,
    )
    served = compared.judged if compared else None
    decision = Decision(predictions.digest, candidate.judged, served, policy.digest)
    number, lost = register(directory, decision, run_id=GATE_CHECK)
    bound = config.data_gate.max_test_duplicates
    copies = duplicates_check(predictions.repeated, evidence.overall.rows, bound)
    test = {"rows": evidence.overall.rows, "digest": predictions.digest}
    return GateResult(
        dataset={
            "name": dataset.name,
            "digest": dataset.fingerprint,
            "splits": {TEST: test},
            "skipped": image_set.skipped,
            "ignored": image_set.ignored,
        },
        model=candidate.subject(models[0]),
        baseline=compared.subject(models[1]) if compared else None,
        evidence=evidence,
        checks=(copies, *decide(Case(evidence, policy, provenance, number, lost=lost))),
        log=str(directory / serving_dir.LOG_NAME),
    )


@dataclasses.dataclass(frozen=True)
class _Found:
    """A model as it lies in its directory, before it is loaded."""

    path: Path
    signature: str
    manifest: Manifest | None
    digest: str

    @property
    def judged(self) -> str:
        """Says what was judged: another signature of a model makes another decision."""
        if self.signature == Asked.signature:  # the digest of the model alone, as in a run
            return self.digest
        return hashlib.sha256(f"{self.digest} {self.signature}".encode()).hexdigest()

    def require_classes(self, expected: tuple[str, ...]) -> None:
        """A label's meaning is its position, so answers about other classes look like wrong ones.

        Raises ModelRefused.
        """
        recorded = self.manifest.release.get("dataset") if self.manifest else None
        names = recorded.get("class_names") if isinstance(recorded, Mapping) else None
        if names and tuple(names) != expected:
            actual, required = classes_apart(names, expected)
            raise ModelRefused(
                f"the model {self.path} was released for other classes than those of the data set: "
                f"{actual}, expected {required}; give one of these classes, or, if only names "
                f"differ, a copy without {serving_dir.MANIFEST_NAME}"
            )

    def subject(self, loaded: Model) -> JudgedModel:
        return JudgedModel(str(self.path), self.digest, self.signature, loaded.takes)


def _find(asked: Asked) -> _Found:
    require_saved_model(asked.path)
    manifest, problems = serving_dir.check_manifest(asked.path)
    if problems:
        raise ModelRefused(
            f"the model does not match its manifest: {asked.path}: {'; '.join(problems)}; give a "
            f"whole copy, or one without {serving_dir.MANIFEST_NAME}"
        )
    try:
        digest = manifest.model_digest if manifest else serving_dir.digest_of(asked.path)
    except ServingDirError as error:
        raise ModelRefused(str(error)) from error
    return _Found(asked.path, asked.signature, manifest, digest)
