"""The gate's metric, on predictions that are written down here."""

import json
from typing import Any

import numpy as np
import pytest
from tensorflow_model_analysis.proto import config_pb2

from components.evaluation.gate_metrics import ACCURACY, OUTCOMES, REFERENCE, GateEvidence
from trainer import features

# (label, the candidate's prediction, the baseline's) of three classes; None for a NaN.
EXAMPLES = [(0, 0, 0), (0, 1, 0), (1, 1, 0), (1, 0, 2), (1, 1, 1), (0, None, 0)]


def computation(*, with_baseline: bool, compared: bool = True) -> Any:
    specs = [config_pb2.ModelSpec(name="candidate")]
    if with_baseline:
        specs.append(config_pb2.ModelSpec(name="baseline", is_baseline=True))
    (made,) = GateEvidence(compared=compared).computations(
        eval_config=config_pb2.EvalConfig(model_specs=specs), model_names=["candidate"]
    )
    return made


def one_hot(label: int | None) -> np.ndarray:
    return np.full(3, np.nan) if label is None else np.eye(3, dtype=np.float32)[label]


def extracts(label: int, candidate: int | None, baseline: int | None) -> dict[str, Any]:
    predictions = {"candidate": candidate, "baseline": baseline}
    return {
        "features": {
            features.IMAGE: np.array([b"\xff\xd8\xff no PNG"], object),
            features.MEAN_INTENSITY: np.array([0.5], np.float32),
            features.HEIGHT: np.array([480]),
            features.WIDTH: np.array([640]),
        },
        "labels": {name: one_hot(label) for name in predictions},
        "predictions": {
            name: {features.PROBABILITIES: one_hot(predicted)}
            for name, predicted in predictions.items()
        },
    }


def output(made: Any, examples: list[Any], *, parts: int = 1) -> dict[str, Any]:
    """What the metric says by name of examples that are added up in that many parts."""
    (preprocessor,), counter = made.preprocessors, made.combiner
    sums = []
    for part in range(parts):
        preprocessor.setup()
        sums.append(counter.create_accumulator())
        for example in examples[part::parts]:
            observed = preprocessor.process(extracts(*example))
            sums[-1] = counter.add_inputs(sums[-1], observed)
    found = counter.extract_output(counter.merge_accumulators(sums))
    return {key.name: value for key, value in found.items()}


def measured(made: Any, examples: list[Any], *, parts: int = 1) -> tuple[float, Any]:
    """The accuracy and the outcomes, see `output`."""
    found = output(made, examples, parts=parts)
    return found[ACCURACY], found[OUTCOMES].tolist()


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_outcomes_of_both_models_are_counted_in_any_number_of_parts(parts: int) -> None:
    accuracy, outcomes = measured(computation(with_baseline=True), EXAMPLES, parts=parts)
    assert accuracy == 3 / 6
    assert outcomes == [  # label, prediction, baseline right, examples
        *([0, -1, 1, 1], [0, 0, 1, 1], [0, 1, 1, 1]),
        *([1, 0, 0, 1], [1, 1, 0, 1], [1, 1, 1, 1]),
    ]


def test_with_nothing_served_the_baseline_is_right_where_the_candidate_is() -> None:
    made = computation(with_baseline=False, compared=False)
    assert measured(made, EXAMPLES) == (
        3 / 6,
        [[0, -1, 0, 1], [0, 0, 1, 1], [0, 1, 0, 1], [1, 0, 0, 1], [1, 1, 1, 2]],
    )


def test_of_no_examples_there_is_no_accuracy() -> None:
    accuracy, outcomes = measured(computation(with_baseline=True), [])
    assert np.isnan(accuracy)
    assert outcomes == []


def test_the_size_is_that_of_the_stored_image_in_any_format() -> None:
    reference = json.loads(output(computation(with_baseline=True), EXAMPLES, parts=2)[REFERENCE])
    assert reference[-2:] == [["intensity", 100, 6], ["size", "480x640", 6]]
