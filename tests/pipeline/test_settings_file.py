"""What files of settings are read as, and what is refused before anything is built of them."""

import os
from pathlib import Path

import pytest

from pipeline.config import ConfigError
from pipeline.settings_file import load
from tests.limits import limited
from tests.refusals import refusal_of


def loaded(tmp_path: Path, content: str | bytes, name: str = "run.yaml") -> object:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load(path, "configuration")


def refusal(tmp_path: Path, content: str | bytes, name: str = "run.yaml") -> str:
    line = refusal_of(ConfigError, loaded, tmp_path, content, name)
    assert str(tmp_path / name) in line
    assert len(line) < 400
    return line


class TestYaml:
    @pytest.mark.parametrize(
        "word",
        ["010", "1:30", "1_000", "0x10", "yes", "off", "1e-5", "2026-13-45", ".inf", "1" * 99],
    )
    def test_a_plain_word_stays_the_text_that_stands_there(self, word: str, tmp_path: Path) -> None:
        assert loaded(tmp_path, f"key: {word}\n") == {"key": word}

    def test_nothing_is_none_and_quoted_text_is_not(self, tmp_path: Path) -> None:
        assert loaded(tmp_path, "a:\nb: ~\nc: null\nd: 'null'\ne: ''\n") == {
            **{"a": None, "b": None, "c": None, "d": "null", "e": ""}
        }
        assert loaded(tmp_path, "# nothing yet\n") is None

    def test_lists_and_a_byte_order_mark_are_read(self, tmp_path: Path) -> None:
        assert loaded(tmp_path, "\ufeffa: [x, 3]\nb:\n- y\n") == {"a": ["x", "3"], "b": ["y"]}

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (
                "a: 1\nb: &x [1]\nc: *x\n",
                "line 3: the alias 'x' is not allowed: write the value out",
            ),
            ("a: &x [*x]\n", "line 1: the alias 'x' is not allowed"),
            ("a: 1\nb: !!int abc\n", "line 2: the tag 'tag:yaml.org,2002:int' is not allowed"),
            ("a: !!python/name:os.system\n", "line 1: the tag "),
            ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' occurs twice"),
            ("a: {b: 1,\n    b: 2}\n", "line 2: the key 'b' occurs twice"),
            ("- " * 5000, "line 1: values are nested deeper than 32 levels"),
            ("- x\n" * 99 + "- " * 40, "line 100: values are nested deeper than 32 levels"),
            ("a: 1\n---\na: 2\n", "is not YAML: line 2, column 1: but found another document"),
            ("a: 1\n? [b]\n: 2\n", "is not YAML: line 2, column 3: found unhashable key"),
            (f"{'k' * 9999}: 1\n", "is not YAML: line 1"),
            (f"? {'k' * 9999}\n: 1\n? {'k' * 9999}\n: 2\n", "line 3: the key 'kkkk"),
            (f"a: &{'x' * 9999} 1\nb: *{'x' * 9999}\n", "line 2: the alias 'xxxx"),
            (f"a: !{'t' * 9999} 1\n", "line 1: the tag '!tttt"),
            (
                f"a: !{'t' * 9999}!x 1\n",
                "is not YAML: line 1, column 4: found undefined tag handle",
            ),
            ("a: b: c", "is not YAML: line 1, column 5: mapping values are not allowed here"),
            (b"a: 1\nb: \xff\n", "is not YAML: line 2: 'utf-8' codec can't decode"),
            ("a: \x07\n", "is not YAML: unacceptable character #x0007"),
        ],
    )
    def test_what_has_no_single_meaning_is_one_line(
        self, content: str | bytes, words: str, tmp_path: Path
    ) -> None:
        assert words in refusal(tmp_path, content)


class TestJson:
    def test_numbers_and_booleans_are_what_they_are(self, tmp_path: Path) -> None:
        content = '{"a": 1e-05, "b": 3, "c": true, "d": [null]}'
        expected = {"a": 1e-5, "b": 3, "c": True, "d": [None]}
        assert loaded(tmp_path, content, "run.json") == expected
        assert loaded(tmp_path, content, "best_hyperparameters.txt") == expected

    def test_a_mapping_of_yaml_may_begin_with_a_brace(self, tmp_path: Path) -> None:
        assert loaded(tmp_path, "{a: 010}") == {"a": "010"}

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ('{"a": 1, "b": {"c": 1, "c": 2}}', "it holds the key 'c' twice in one object"),
            ('{"a": NaN}', "it holds NaN, expected finite numbers"),
            ('{"a": -Infinity}', "it holds -Infinity, expected"),
            ('{"a": 1e999}', "it holds '1e999', expected finite numbers"),
            ('{"a":' * 100_000, "it is nested too deeply, expected at most 32 levels"),
            ("[" * 40 + "]" * 40, "it is nested too deeply, expected at most 32 levels"),
            ("9" * 5_000, "it holds the integer '99999"),
            ("{a: 1}", "is not JSON: line 1, column 2: Expecting property name"),
            ("", "is not JSON: line 1, column 1: Expecting value"),
            (b'{"a":\n"\xff"}', "is not JSON: line 2: 'utf-8' codec can't decode"),
        ],
    )
    def test_what_is_no_plain_json_is_one_line(
        self, content: str | bytes, words: str, tmp_path: Path
    ) -> None:
        if len(content) > 2**16:
            content = content[: 2**16]
        assert words in refusal(tmp_path, content, "run.json")


class TestFile:
    def test_a_large_one_is_refused_by_its_size(self, tmp_path: Path) -> None:
        path = tmp_path / "run.yaml"
        with path.open("wb") as file:
            file.truncate(1 << 40)  # sparse: nobody could read it in time
        with pytest.raises(ConfigError, match="Holds 1,099,511,627,776 bytes or more, expected"):
            load(path, "configuration")

    def test_what_is_no_regular_file_is_refused_without_waiting(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        for path, kind in (
            (tmp_path / "fifo", "FIFO"),
            (Path("/dev/zero"), "device"),
            (tmp_path, "dir"),
        ):
            with pytest.raises(ConfigError, match=f"configuration {path}: Is a {kind}.*, expected"):
                load(path, "configuration")

    def test_a_bomb_of_aliases_is_refused_in_little_memory(self, tmp_path: Path) -> None:
        # Eight levels of nine: 9^8 leaves, of which a loader of all makes gigabytes.
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
        (tmp_path / "run.yaml").write_text("\n".join(lines))
        done = limited(
            """
            import sys
            from pipeline.cli.main import main
            sys.exit(main(["run", "--config", sys.argv[1]]))
            """,
            tmp_path / "run.yaml",
        )
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "line 2: the alias 'a0' is not allowed" in done.stderr
