"""Puts predictions of any tool before the release gate: no model is asked, no image is read.

Synopsis::

    result = check_predictions(config, Path("candidate.csv"), Path("served.csv"), dataset="mnist")
    result.passed, result.checks, result.left_out

Counting, policy, decision and decision log are those of a run. TensorFlow is not imported.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from components.evaluation import pairing
from components.evaluation.pairing import Cut
from components.evaluation.prediction_files import PredictionsFile, read_predictions
from components.example_gen.image_set import TEST
from components.gate.decide import decide
from components.gate.evidence import Case, Evidence
from components.gate.policy import Policy
from components.serving_dir import LOG_NAME
from components.serving_dir.decisions import register
from components.serving_dir.log import Decision
from pipeline.config import ConfigError, RunConfig
from pipeline.dataset_defaults import DATASET_DEFAULTS, policy_for
from pipeline.places import require_log_place
from pipeline.result import GATE_CHECK, GateResult, JudgedModel
from trainer.host.paths import slug
from trainer.host.text import unknown

_LOG_FOLDER = "gate"  # below the pipeline root, for predictions of no named data set
_ORIGIN = ("integrity.rows", "integrity.digest", "integrity.model", "integrity.withdrawn")


def check_predictions(
    config: RunConfig,
    candidate: Path,
    baseline: Path | None = None,
    *,
    dataset: str | None = None,
    cuts: Sequence[Cut] = (),
) -> GateResult:
    """Decides on predictions, and records the decision like a run.

    Args:
      config: its gate, and the directories that say where the decision is written down.
      dataset: one of `DATASET_DEFAULTS`, whose thresholds and serving directory are taken.
      cuts: slices by further columns of the candidate's file, beside those of the policy.

    Raises:
      ConfigError: the data set has no thresholds of its own.
      PathRefused, NoServingDir: the decision could not be written down where the configuration
        says.
      DataError: a file is refused; nothing was decided.
      ServingDirError: the decision cannot be written down.
    """
    if dataset is not None and dataset not in DATASET_DEFAULTS:
        see = f"known are {', '.join(DATASET_DEFAULTS)}; leave --dataset out for general thresholds"
        raise ConfigError(unknown("data set", dataset, DATASET_DEFAULTS, see=see))
    directory = _log_directory(config, dataset)
    require_log_place(config, directory)
    read = read_predictions(candidate)
    other = None if baseline is None else read_predictions(baseline)
    pairs = pairing.pair(read, other)
    policy = policy_for(
        config.gate, dataset or "", num_classes=len(pairs.classes), test_rows=len(read.ids)
    )
    bands = [Cut(one.feature, one) for one in policy.slices]
    if config.gate.slices is None:  # the data set's own, for the columns that there are
        bands = [cut for cut in bands if cut.column in read.columns]
    further = [cut for cut in dict.fromkeys(cuts) if cut not in bands]
    used = [*bands, *further]
    evidence = pairs.evidence(used)
    model, compared = _subject(read), _subject(other) if other else None
    split = pairing.split_digest(read)
    served = compared.digest if compared else None
    decision = Decision(split, model.digest, served, _policy_digest(policy, further))
    number, lost = register(directory, decision, run_id=GATE_CHECK)
    test = {"rows": evidence.overall.rows, "digest": split}
    return GateResult(
        dataset={"name": dataset, "digest": None, "splits": {TEST: test}},
        model=model,
        baseline=compared,
        evidence=evidence,
        checks=decide(Case(evidence, policy, None, number, lost=lost)),
        log=str(directory / LOG_NAME),
        left_out=tuple(_left_out(read, evidence, policy, used)),
    )


def _subject(read: PredictionsFile) -> JudgedModel:
    return JudgedModel(str(read.path), pairing.model_digest(read))


def _log_directory(config: RunConfig, dataset: str | None) -> Path:
    if dataset is None and config.serving_dir is None:
        return Path(config.pipeline_root, _LOG_FOLDER).absolute()
    return config.served_from(slug(dataset or ""))


def _policy_digest(policy: Policy, cuts: Sequence[Cut]) -> str:
    """The policy's own digest, with slices that it does not know."""
    if not cuts:
        return policy.digest
    text = json.dumps([policy.digest, sorted(map(str, cuts))])
    return hashlib.sha256(text.encode()).hexdigest()


def _left_out(
    read: PredictionsFile, evidence: Evidence, policy: Policy, used: Sequence[Cut]
) -> Iterator[tuple[str, str]]:
    origin = "predictions do not tell which model made them, and from which images"
    yield from ((name, origin) for name in _ORIGIN)
    yield "data.duplicates", "predictions do not tell which images are the same"
    if evidence.cross_entropy is None:
        alone = f"{read.path} holds the predicted class alone, and this needs probabilities"
        yield from ((name, alone) for name in ("integrity.finite", "cross_entropy"))
    columns = {cut.column for cut in used}
    for bands in policy.slices:
        if bands.feature not in columns:
            yield f"slice.{bands.feature}", f"{read.path} has no column {bands.feature}"
