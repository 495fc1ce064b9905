from pathlib import Path

import numpy as np

from components.example_gen.example_facts import FACTS, digest_of
from components.example_gen.hash_buckets import Bucket, digest, overlap, parts_of, sort_bucket


def random_facts(rows: int, seed: int) -> np.ndarray:
    made = np.zeros(rows, FACTS)
    rng = np.random.default_rng(seed)
    for name in ("image_hash", "example_hash"):
        made[name] = rng.integers(0, 256, (rows, 32), np.uint8)
    made["image_hash"][:, -1] = 0  # the last byte of a text of fixed width
    return made


def sorted_buckets(parts: list[tuple[str, np.ndarray]], directory: Path) -> list[Bucket]:
    grouped: dict = {}  # type: ignore[type-arg]
    for split, facts in parts:
        for number, part in parts_of(split, facts):
            grouped.setdefault(number, []).append(part)
    return [sort_bucket(item, str(directory)) for item in sorted(grouped.items(), reverse=True)]


def test_the_digest_is_that_of_all_examples_at_once(tmp_path: Path) -> None:
    train, test = random_facts(300, 1), random_facts(3, 2)
    buckets = sorted_buckets([("train", train[200:]), ("test", test), ("train", train)], tmp_path)
    both = np.concatenate([train, train[200:]])["example_hash"]
    assert digest(buckets, "train") == digest_of(both)
    assert digest(buckets, "test") == digest_of(test["example_hash"])  # most buckets have none
    assert digest(buckets, "eval") == digest_of(np.empty((0, 32), np.uint8))


def test_images_of_test_that_train_or_eval_holds_are_counted(tmp_path: Path) -> None:
    train, evals, test = (random_facts(rows, seed) for rows, seed in ((50, 1), (20, 2), (30, 3)))
    test["image_hash"][:9] = train["image_hash"][:9]
    test["image_hash"][9:12] = evals["image_hash"][7]
    test["example_hash"][20] = train["example_hash"][20]  # which says nothing of images
    parts = [("train", train), ("test", test), ("eval", evals)]
    found = overlap(sorted_buckets(parts, tmp_path))
    expected = {key.tobytes().hex() for key in test["image_hash"][:10]}
    assert found.train_test == 12
    assert found.within_test == 2  # of three equal ones
    assert found.examples == tuple(sorted(expected)[:5])


def test_without_overlap_none_is_named(tmp_path: Path) -> None:
    parts = [("train", random_facts(50, 1)), ("test", random_facts(30, 3))]
    found = overlap(sorted_buckets(parts, tmp_path))
    assert (found.train_test, found.examples, found.within_test) == (0, (), 0)
