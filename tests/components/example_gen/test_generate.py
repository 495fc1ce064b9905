import numpy as np
import pytest

from components.example_gen.example_facts import FACTS, eval_rows, facts_of, hash_examples
from components.example_gen.generate import (
    Batch,
    SplitPlan,
    assign_files,
    make_plan,
)
from components.example_gen.image_set import DatasetInfo, Shard
from components.monitoring.summary import INTENSITY_BINS

INFO = DatasetInfo("tiny", "tiny", "0" * 64, (2, 2, 1), ("a", "b"), 1)


def batch_of(images: np.ndarray, labels: np.ndarray, shard: Shard, start: int) -> Batch:
    examples = [
        bytes([label]) + image.tobytes() for image, label in zip(images, labels, strict=True)
    ]
    return Batch(shard, start, facts_of(images, labels), examples)


def split_batches(split: str, images: np.ndarray, labels: np.ndarray, rows: int) -> list[Batch]:
    """Shards of two batches of `rows` each."""
    return [
        batch_of(
            images[at : at + rows],
            labels[at : at + rows],
            Shard(split, at // (2 * rows), 2 * rows),
            at % (2 * rows),
        )
        for at in range(0, len(labels), rows)
    ]


def images_of(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    images = np.random.default_rng(seed).integers(0, 256, (rows, 2, 2, 1), np.uint8)
    return images, np.arange(rows) % 2


TRAIN = images_of(64, 1)
TEST = images_of(8, 2)


def all_batches(rows: int = 8) -> list[Batch]:
    return [*split_batches("train", *TRAIN, rows), *split_batches("test", *TEST, 4)]


def files_of(batches: list[Batch], plan: SplitPlan, files: dict[str, int]) -> dict:  # type: ignore[type-arg]
    found: dict = {}  # type: ignore[type-arg]
    for batch in batches:
        for key, (_, examples) in assign_files(batch, plan, files):
            found.setdefault(key, set()).update(examples)
    return found


def test_the_plan_counts_and_digests_each_split() -> None:
    summary = make_plan(all_batches(), INFO).summary
    assert summary is not None
    assert {name: split.rows for name, split in summary.splits.items()} == {
        "train": 56,  # 64 - 64 / 8
        "eval": 8,
        "test": 8,
    }
    assert summary.splits["eval"].class_counts == (4, 4)
    assert summary.splits["test"].mean_intensity == pytest.approx(TEST[0].mean() / 255)
    means = TEST[0].reshape(len(TEST[0]), -1).mean(axis=1) / 255
    bins, _ = np.histogram(means, bins=INTENSITY_BINS, range=(0.0, 1.0))
    assert summary.splits["test"].intensities == tuple(bins.tolist())


def test_neither_order_nor_sharding_changes_the_summary() -> None:
    order = np.random.default_rng(0).permutation(64)
    shuffled = split_batches("train", TRAIN[0][order], TRAIN[1][order], 4)
    other = [*split_batches("test", *TEST, 4), *shuffled[::-1]]
    assert make_plan(other, INFO).summary == make_plan(all_batches(), INFO).summary


def test_each_row_goes_to_one_file_of_its_split() -> None:
    batches = all_batches()
    plan = make_plan(batches, INFO)
    files = files_of(batches, plan, {"train": 3, "eval": 1, "test": 1})
    chosen = eval_rows(TRAIN[1], hash_examples(*TRAIN)[1])
    expected = {bytes([TRAIN[1][row]]) + TRAIN[0][row].tobytes() for row in chosen}
    assert files["eval", 0] == expected
    train = [files["train", number] for number in range(3)]
    assert sum(map(len, train)) == len(set().union(*train)) == 56
    assert not expected & set().union(*train)


def test_images_of_test_that_stand_in_train_or_eval_are_counted() -> None:
    test_images = np.concatenate([TRAIN[0][:3], TRAIN[0][:1], TEST[0][:4]])  # one of them twice
    test = split_batches("test", test_images, 1 - TEST[1], 4)  # whatever their labels
    plan = make_plan([*split_batches("train", *TRAIN, 8), *test], INFO)
    assert plan.summary is not None
    assert plan.summary.overlap.train_test == 4
    hashes, _ = hash_examples(*TRAIN)
    assert plan.summary.overlap.examples == tuple(sorted(h.tobytes().hex() for h in hashes[:3]))


def test_few_of_many_overlapping_images_are_named() -> None:
    plan = make_plan([*split_batches("train", *TRAIN, 8), *split_batches("test", *TRAIN, 8)], INFO)
    assert plan.summary is not None
    assert plan.summary.overlap.train_test == 64
    assert len(plan.summary.overlap.examples) == 5


def test_any_problem_of_a_shard_stops_all_writing() -> None:
    batches = [
        *all_batches(),
        Batch(Shard("test", 1, 3), 0, np.empty(0, FACTS), [], "it is broken"),
    ]
    plan = make_plan(batches, INFO)
    assert plan.problems == ("dataset 'tiny': it is broken",)
    assert files_of(batches, plan, {"train": 1, "eval": 1, "test": 1}) == {}


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_missing_class_is_a_problem(split: str) -> None:
    batches = all_batches()
    for batch in batches:
        if batch.shard.split == split:
            batch.facts["label"] = 0
    assert make_plan(batches, INFO).problems == (
        f"dataset 'tiny': the {split} split has no image of class b, "
        "expected each of the 2 classes in it",
    )


def test_an_empty_split_is_a_problem() -> None:
    plan = make_plan(split_batches("train", *TRAIN, 8), INFO)
    assert plan.problems == (
        "dataset 'tiny': the test split is empty, expected at least one image",
    )


def test_too_few_images_for_an_eval_split_are_a_problem() -> None:
    few = [*split_batches("train", *images_of(7, 1), 7), *split_batches("test", *TEST, 4)]
    assert make_plan(few, INFO).problems == (
        "dataset 'tiny': the eval split is empty, expected at least 8 images in the source's "
        "training split, of which an eighth becomes eval",
    )
