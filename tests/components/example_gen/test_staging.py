import pickle
from pathlib import Path

import numpy as np

from components.example_gen.example_facts import facts_of
from components.example_gen.staging import ROWS, Staged, file_numbers, stage

FILES = 3


def drawn(rows: int) -> tuple[np.ndarray, list[bytes]]:
    """Facts, and examples of 0 to `rows` - 1 bytes, each with bytes of its own."""
    rng = np.random.default_rng(0)
    facts = facts_of(rng.integers(0, 256, (rows, 2, 2, 1), np.uint8), np.arange(rows) % 5)
    return facts, [bytes([row]) * row for row in range(rows)]


def staged(directory: Path, rows: int = 40) -> Staged:
    facts, examples = drawn(rows)
    return stage("train", 7, 100, facts, examples, files=FILES, directory=str(directory))


def test_each_row_is_read_back_from_the_group_of_its_file(tmp_path: Path) -> None:
    facts, examples = drawn(40)
    one = staged(tmp_path)
    numbers = file_numbers(facts["example_hash"], FILES)
    for number in range(FILES):
        expected = np.flatnonzero(numbers == number)
        rows, found = one.of_file(number)
        assert (rows["row"] - 100).tolist() == expected.tolist()
        assert found == [examples[row] for row in expected]
        assert (rows["shard"] == 7).all()
        for name in facts.dtype.names:
            assert (rows[name] == facts[name][expected]).all()


def test_rows_are_read_without_their_examples(tmp_path: Path) -> None:
    one = staged(tmp_path)
    together = np.concatenate([one.of_file(number)[0] for number in range(FILES)])
    assert (one.rows() == together).all()


def test_examples_are_found_wherever_they_stand(tmp_path: Path) -> None:
    one = staged(tmp_path)
    some = one.rows()[[30, 2, 17]]
    assert one.examples(some) == [bytes([row - 100]) * (row - 100) for row in some["row"]]


def test_of_rows_from_anywhere_it_knows_its_own(tmp_path: Path) -> None:
    one = staged(tmp_path)
    given = np.zeros(5, ROWS)
    given["shard"] = [7, 7, 7, 7, 6]
    given["row"] = [99, 100, 139, 140, 120]  # it holds rows 100 to 139 of shard 7
    assert one.own(given)["row"].tolist() == [100, 139]


def test_a_file_without_rows_has_an_empty_group(tmp_path: Path) -> None:
    one = staged(tmp_path, rows=1)
    found = [one.of_file(number)[1] for number in range(FILES)]
    assert sorted(map(len, found)) == [0, 0, 1]


def test_staged_twice_there_are_two_files(tmp_path: Path) -> None:
    assert staged(tmp_path).path != staged(tmp_path).path


def test_what_passes_through_beam_does_not_grow_with_the_images(tmp_path: Path) -> None:
    facts, _ = drawn(40)
    large = stage("train", 0, 0, facts, [b"x" * 50_000] * 40, files=FILES, directory=str(tmp_path))
    assert Path(large.path).stat().st_size > 2_000_000
    assert len(pickle.dumps(large)) < 500
