"""How a data set is split: its parts are surveyed, `eval` is cut from `train`, and all is checked.

What is known of the parts is joined in any order, and stays small::

    survey = joined_surveys(surveys)
    chosen = joined_eval_rows(one for each in staged for one in eval_candidates(each, survey))
    plan = make_plan(survey, chosen, info)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from components.example_gen.example_facts import (
    MIN_TRAIN_PER_EVAL,
    eval_size,
    quotas_of,
    smallest_rows,
)
from components.example_gen.image_set import EVAL, SPLITS, TEST, TRAIN, DatasetInfo
from components.example_gen.staging import ROWS, Staged
from components.example_gen.totals import Totals, joined_totals, totals_of
from trainer.host.text import listed


@dataclasses.dataclass(frozen=True)
class Survey:
    """What is known of some rows together: why they cannot be used, and sums by source split."""

    problems: tuple[str, ...]
    totals: Mapping[str, Totals]


@dataclasses.dataclass(frozen=True)
class EvalRows:
    """The training rows that become `eval`, of all or of some, [n] ROWS in the source's order.

    `quotas`, [K] int64, are the numbers of rows of each class that `eval` has in the end.
    """

    quotas: npt.NDArray[np.int64]
    rows: npt.NDArray[np.void]


@dataclasses.dataclass(frozen=True)
class SplitPlan:
    """The rows of eval, and the totals of each split; with problems, nothing is written."""

    problems: tuple[str, ...]
    eval_rows: npt.NDArray[np.void]
    totals: Mapping[str, Totals]


def joined_surveys(surveys: Iterable[Survey]) -> Survey:
    """Joins surveys, in any order."""
    given = list(surveys)
    return Survey(
        tuple(problem for one in given for problem in one.problems),
        {
            split: joined_totals(one.totals[split] for one in given if split in one.totals)
            for split in (TRAIN, TEST)
        },
    )


def eval_candidates(staged: Staged | None, survey: Survey) -> Iterator[EvalRows]:
    """Yields of some staged rows those that may become `eval`."""
    if staged is None or staged.split != TRAIN or survey.problems:
        return
    groups = survey.totals[TRAIN].groups
    counts = survey.totals[TRAIN].class_counts(int(groups["label"].max()) + 1)
    quotas = quotas_of(counts, eval_size(int(counts.sum())))
    yield joined_eval_rows([EvalRows(quotas, staged.rows())])


def joined_eval_rows(candidates: Iterable[EvalRows]) -> EvalRows:
    """Joins candidates, in any order, and keeps as many of each class as become `eval`."""
    given = list(candidates)
    quotas = given[0].quotas if given else np.zeros(0, np.int64)
    rows = np.concatenate([np.empty(0, ROWS), *(one.rows for one in given)])
    rows = rows[np.lexsort((rows["row"], rows["shard"]))]
    return EvalRows(quotas, rows[smallest_rows(rows["label"], rows["example_hash"], quotas)])


def make_plan(survey: Survey, chosen: EvalRows, info: DatasetInfo) -> SplitPlan:
    """Checks the splits, of which `eval` is cut as chosen."""
    problems = sorted(survey.problems)
    totals: dict[str, Totals] = {}
    if not problems:
        of_eval = totals_of(chosen.rows, info.image_shape)
        totals = {
            TRAIN: survey.totals[TRAIN].without(of_eval),
            EVAL: of_eval,
            TEST: survey.totals[TEST],
        }
        problems = [text for name in SPLITS for text in _split_problems(name, totals[name], info)]
    texts = tuple(f"dataset {info.spec!r}: {problem}" for problem in problems)
    return SplitPlan(texts, chosen.rows, totals)


def _split_problems(name: str, images: Totals, info: DatasetInfo) -> list[str]:
    if not images.rows:
        least = "one image"
        if name == EVAL:
            least = (
                f"{MIN_TRAIN_PER_EVAL} images in the source's training split, of which an eighth "
                "becomes eval"
            )
        return [f"the {name} split is empty, expected at least {least}"]
    counts = images.class_counts(info.num_classes)
    missing = [info.class_names[label] for label in np.flatnonzero(counts == 0)]
    # A class of under eight training images may have none in eval: that is the cut, not the data.
    if missing and name != EVAL:
        return [
            f"the {name} split has no image of class {listed(missing)}, expected each of the "
            f"{info.num_classes} classes in it"
        ]
    return []
