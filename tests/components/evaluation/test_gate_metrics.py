"""What `PairedCounts` adds up, on predictions that are written down here."""

from typing import Any

import numpy as np
import pytest
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2

from components.evaluation.gate_metrics import ANSWERS, COUNTS, PairedCounts
from trainer import features

NAN = float("nan")

# (label, the candidate's answer, the baseline's) of three classes; None for a NaN.
EXAMPLES = [(0, 0, 0), (0, 1, 0), (1, 1, 0), (1, 0, 2), (1, 1, 1), (0, None, 0)]


def combiner(*, compared: bool) -> Any:
    specs = [config_pb2.ModelSpec(name="candidate")]
    if compared:
        specs.append(config_pb2.ModelSpec(name="baseline", is_baseline=True))
    (computation,) = PairedCounts().computations(
        eval_config=config_pb2.EvalConfig(model_specs=specs), model_names=["candidate"]
    )
    return computation.combiner


def one_hot(label: int | None) -> np.ndarray:
    return np.full(3, NAN) if label is None else np.eye(3, dtype=np.float32)[label]


def element(label: int, candidate: int | None, baseline: int | None) -> Any:
    answers = {"candidate": candidate, "baseline": baseline}
    return metric_types.StandardMetricInputs(
        {
            "labels": {name: one_hot(label) for name in answers},
            "predictions": {
                name: {features.PROBABILITIES: one_hot(answer)} for name, answer in answers.items()
            },
        }
    )


def counted(examples: list[tuple[int, int | None, int | None]], *, compared: bool, parts: int = 1):
    """What comes of the examples, added up in that many parts: (the counts, the answers)."""
    counter = combiner(compared=compared)
    sums = []
    for part in range(parts):
        sums.append(counter.create_accumulator())
        for example in examples[part::parts]:
            sums[-1] = counter.add_input(sums[-1], element(*example))
    found = {
        key.name: value
        for key, value in counter.extract_output(counter.merge_accumulators(sums)).items()
    }
    return {name: found[name] for name in COUNTS}, found[ANSWERS].tolist()


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_right_lost_and_gained_are_counted_in_any_number_of_parts(parts: int) -> None:
    counts, answers = counted(EXAMPLES, compared=True, parts=parts)
    # Lost: the second, and the last, whose NaN is no right answer. Gained: the third.
    assert counts == {"rows": 6, "correct": 3, "lost": 2, "gained": 1, "not_finite": 1}
    assert answers == [2, 3]


def test_with_nothing_served_nothing_is_lost_or_gained() -> None:
    counts, answers = counted(EXAMPLES, compared=False)
    assert counts == {"rows": 6, "correct": 3, "lost": 0, "gained": 0, "not_finite": 1}
    assert answers == [2, 3]


def test_of_no_examples_every_count_is_zero() -> None:
    counts, answers = counted([], compared=True)
    assert set(counts.values()) == {0}
    assert answers == []


def test_a_class_that_was_no_answer_before_the_last_one_has_a_zero() -> None:
    assert counted([(0, 2, 0), (0, 0, 0)], compared=True)[1] == [1, 0, 1]
