from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.example_gen.example_facts import (
    FACTS,
    eval_size,
    facts_of,
    quotas_of,
    smallest_rows,
)
from components.example_gen.image_set import TEST, TRAIN, DatasetInfo
from components.example_gen.split_plan import (
    EvalRows,
    SplitPlan,
    Survey,
    eval_candidates,
    joined_eval_rows,
    joined_surveys,
    make_plan,
)
from components.example_gen.staging import ROWS, stage
from components.example_gen.totals import totals_of

SHAPE = (2, 2, 1)
INFO = DatasetInfo("tiny", "tiny", "0" * 64, SHAPE, ("a", "b"), 1)


def random_facts(rows: int, seed: int) -> np.ndarray:
    images = np.random.default_rng(seed).integers(0, 256, (rows, *SHAPE), np.uint8)
    return facts_of(images, np.arange(rows) % 2)


def planned(directory: Path, train: np.ndarray, test: np.ndarray, rows: int = 8) -> SplitPlan:
    """Plans a set whose shards are staged by so many rows."""
    surveys, staged = [], []
    for split, facts in ((TRAIN, train), (TEST, test)):
        for start in range(0, len(facts), rows):
            part = facts[start : start + rows]
            examples = [b""] * len(part)
            surveys.append(Survey((), {split: totals_of(part, SHAPE)}))
            staged.append(stage(split, 0, start, part, examples, files=2, directory=str(directory)))
    survey = joined_surveys(reversed(surveys))
    candidates = [one for each in reversed(staged) for one in eval_candidates(each, survey)]
    return make_plan(survey, joined_eval_rows(candidates), INFO)


def test_each_split_is_counted(tmp_path: Path) -> None:
    plan = planned(tmp_path, random_facts(64, 1), random_facts(8, 2))
    assert plan.problems == ()
    assert {name: images.rows for name, images in plan.totals.items()} == {
        "train": 56,  # 64 - 64 / 8
        "eval": 8,
        "test": 8,
    }
    assert plan.totals["eval"].class_counts(2).tolist() == [4, 4]


@pytest.mark.parametrize("rows", [1, 5, 64])
def test_eval_takes_the_smallest_hashes_of_all_parts_together(tmp_path: Path, rows: int) -> None:
    train = random_facts(64, 1)
    plan = planned(tmp_path, train, random_facts(8, 2), rows)
    quotas = quotas_of(np.bincount(train["label"]), eval_size(64))
    expected = smallest_rows(train["label"], train["example_hash"], quotas)
    assert plan.eval_rows["row"].tolist() == expected.tolist()


@given(st.lists(st.integers(0, 3), max_size=40), st.randoms(use_true_random=False))
def test_of_equal_examples_eval_takes_the_first_in_whatever_order_parts_are_joined(
    hashes: list[int], random
) -> None:  # type: ignore[no-untyped-def]
    rows = np.zeros(len(hashes), ROWS)
    rows["label"], rows["row"] = np.arange(len(hashes)) % 2, np.arange(len(hashes))
    rows["example_hash"][:, 5] = hashes
    quotas = np.array([len(hashes) // 4, len(hashes) // 3])
    expected = smallest_rows(rows["label"], rows["example_hash"], quotas)
    parts = [EvalRows(quotas, part) for part in np.split(rows, [len(rows) // 5, len(rows) // 2])]
    random.shuffle(parts)
    first = joined_eval_rows(parts[:2])
    found = joined_eval_rows([parts[2], first]).rows["row"]
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_missing_class_is_a_problem(tmp_path: Path, split: str) -> None:
    facts = {"train": random_facts(64, 1), "test": random_facts(8, 2)}
    facts[split]["label"] = 0
    assert planned(tmp_path, **facts).problems == (
        f"dataset 'tiny': the {split} split has no image of class b, "
        "expected each of the 2 classes in it",
    )


def test_an_empty_split_is_a_problem(tmp_path: Path) -> None:
    assert planned(tmp_path, random_facts(64, 1), np.empty(0, FACTS)).problems == (
        "dataset 'tiny': the test split is empty, expected at least one image",
    )


def test_too_few_images_for_an_eval_split_are_a_problem(tmp_path: Path) -> None:
    assert planned(tmp_path, random_facts(7, 1), random_facts(8, 2)).problems == (
        "dataset 'tiny': the eval split is empty, expected at least 8 images in the source's "
        "training split, of which an eighth becomes eval",
    )


def test_problems_of_shards_are_told_in_one_order_and_nothing_else_is() -> None:
    surveys = [Survey((text,), {}) for text in ("b is broken", "a is broken")]
    plan = make_plan(joined_surveys(surveys), joined_eval_rows([]), INFO)
    assert plan.problems == ("dataset 'tiny': a is broken", "dataset 'tiny': b is broken")
