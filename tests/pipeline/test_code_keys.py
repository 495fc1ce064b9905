"""Which components a change of the sources makes run again."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.code_keys import COMPONENTS, Sources, code_keys
from tests.plugins import install

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
PACKAGES = ("components", "pipeline", "trainer")

# In one process, since TensorFlow and TFX take long to import: a fork for each component imports
# its modules alone, and says which of ours it has then.
IMPORT_ALONE = """
import json, os, sys
import tfx.components.evaluator.executor, tfx.components.trainer.executor
import keras_tuner, matplotlib.figure, tensorflow, tensorflow_datasets, tensorflow_transform
import tensorflow_model_analysis

def imported(entries):
    reader, writer = os.pipe()
    if os.fork() == 0:
        for entry in entries:
            __import__(entry)
        ours = [name for name in sys.modules if name.split(".")[0] in {packages}]
        os.write(writer, json.dumps(ours).encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as said:
        return json.load(said)

assert not [name for name in sys.modules if name.split(".")[0] in {packages}]
print(json.dumps({{name: imported(entries) for name, entries in {components}.items()}}))
"""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of our packages."""
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return tmp_path


def append(sources: Path, file: str, line: str = "# a comment") -> None:
    with (sources / file).open("a") as opened:
        opened.write(f"{line}\n")


def changed(sources: Path, file: str) -> set[str]:
    """Appends a comment to a file; the components whose keys it changes."""
    append(sources, file)
    before, after = code_keys(), code_keys(sources)
    return {name for name in COMPONENTS if after[name] != before[name]}


def test_the_keys_are_the_same_wherever_the_packages_lie(sources: Path) -> None:
    assert code_keys(sources) == code_keys()


@pytest.mark.parametrize(
    ("file", "components"),
    [
        pytest.param("components/pusher.py", {"Pusher"}, id="what publishes"),
        pytest.param("components/gate/decide.py", {"ReleaseGate"}, id="what decides"),
        pytest.param("trainer/architectures.py", {"Trainer", "Tuner"}, id="a network"),
        pytest.param(
            "components/serving_check/__init__.py", {"ServingCheck"}, id="the package of an import"
        ),
        pytest.param(
            "components/serving_check/tensorflow_loader.py", {"ServingCheck"}, id="a child process"
        ),
        pytest.param(
            "trainer/host/child_main.py", {"Trainer", "Tuner", "ServingCheck"}, id="all children"
        ),
        pytest.param("pipeline/cli/main.py", set(), id="what no component runs"),
    ],
)
def test_a_change_runs_again_what_it_belongs_to(
    file: str, components: set[str], sources: Path
) -> None:
    assert changed(sources, file) == components


def test_what_example_gen_takes_from_the_trainer_is_in_its_key(sources: Path) -> None:
    assert "ExampleGen" in changed(sources, "trainer/features.py")


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("from pipeline import presets", True),
        ("def later():\n    from pipeline.presets import quick", True),
        ("import_module('pipeline.presets')", True),
        ("if TYPE_CHECKING:\n    from pipeline import presets", False),
        ("'see pipeline.presets'", False),
    ],
)
def test_an_import_counts_where_it_runs(sources: Path, line: str, counts: bool) -> None:
    append(sources, "trainer/progress.py", line)
    found = Sources(sources).closure(["trainer.progress"])
    assert ("pipeline.presets" in found) == counts


def test_plugins_belong_to_what_reads_a_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from my_nets.small import small"
    install(tmp_path, code, name="my-nets", file="my_nets/__init__.py")
    (tmp_path / "my_nets" / "small.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert {"my_nets", "my_nets.small"} < set(Sources().closure(["trainer.host.registry"]))
    assert "my_nets" not in Sources().closure(["trainer.host.text"])


@pytest.mark.slow
def test_all_that_a_component_really_imports_is_in_its_closure() -> None:
    code = IMPORT_ALONE.format(packages=PACKAGES, components=dict(COMPONENTS))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    imported = json.loads(done.stdout.splitlines()[-1])
    for name, entries in COMPONENTS.items():
        assert set(entries) <= set(imported[name])
        assert set(imported[name]) - set(Sources().closure(entries)) == set(), name
