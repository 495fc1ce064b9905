"""Tables that a distribution from outside extends; each test has a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugins import install
from trainer.host.registry import Registry

# A module with a table, as any of the product; plugins import it.
TABLE = """
from trainer.host.registry import Registry
SHAPES = Registry("shape")
SHAPES.add("square", 4)
"""


def _said(folder: Path, code: str) -> str:
    (folder / "shapes.py").write_text(TABLE)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _error(folder: Path) -> str:
    return _said(
        folder,
        "from shapes import SHAPES\n"
        "assert SHAPES['square'] == 4\n"
        "for _ in range(2):\n"
        "    try: len(SHAPES)\n"
        "    except ValueError as error: print(error)\n",
    )


def test_a_plugin_adds_to_a_table_when_it_is_first_read(tmp_path: Path) -> None:
    install(tmp_path, "from shapes import SHAPES\nSHAPES.add('triangle', 3)\nprint('imported')")
    code = "from shapes import SHAPES; print('before'); print(dict(SHAPES), len(SHAPES))"
    said = _said(tmp_path, code)
    assert said.splitlines() == ["before", "imported", "{'square': 4, 'triangle': 3} 2"]


def test_a_plugin_may_read_the_table_that_it_adds_to(tmp_path: Path) -> None:
    install(tmp_path, "from shapes import SHAPES\nSHAPES.add('cube', SHAPES['square'] + 2)")
    assert _said(tmp_path, "from shapes import SHAPES; print(SHAPES['cube'])") == "6"


def test_a_plugin_that_cannot_be_imported_is_named_at_every_read(tmp_path: Path) -> None:
    install(tmp_path, "import no_such_module", name="my-shapes")
    line = (
        "the plugin my-shapes cannot be used, as its module my_shapes cannot be imported "
        "(ModuleNotFoundError: No module named 'no_such_module'): repair or uninstall my-shapes"
    )
    assert _error(tmp_path).splitlines() == [line, line]


def test_a_plugin_cannot_take_a_name_of_the_product(tmp_path: Path) -> None:
    install(tmp_path, "from shapes import SHAPES\nSHAPES.add('square', 5)", name="my-shapes")
    assert "my-shapes" in _error(tmp_path)
    assert "ValueError: the shape 'square' exists already: choose another name" in _error(tmp_path)


def test_plugins_are_named_without_being_imported(tmp_path: Path) -> None:
    module = install(tmp_path, "raise SystemExit(9)")
    code = "from trainer.host.registry import plugin_modules; print(plugin_modules())"
    assert _said(tmp_path, code) == repr((module,))


def test_a_table_is_a_mapping_in_the_order_of_its_entries() -> None:
    table: Registry[int] = Registry("shape")
    table.add("square", 4)
    table.add("line", 2)
    assert list(table.items()) == [("square", 4), ("line", 2)]
    assert "circle" not in table
    with pytest.raises(KeyError):
        table["circle"]
