"""Which components a change of the sources makes run again."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
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


@pytest.fixture
def changed_by(sources: Path) -> Callable[[str, str], set[str]]:
    """Appends a line to a file; the components whose keys it changes."""

    def changed(file: str, line: str = "# a comment") -> set[str]:
        before = code_keys(sources)
        with (sources / file).open("a") as opened:
            opened.write(f"{line}\n")
        after = code_keys(sources)
        return {name for name in COMPONENTS if after[name] != before[name]}

    return changed


def test_the_keys_are_the_same_wherever_the_packages_lie(sources: Path) -> None:
    assert code_keys(sources) == code_keys()


def test_what_publishes_retrains_nothing(changed_by: Callable[[str], set[str]]) -> None:
    assert changed_by("components/pusher.py") == {"Pusher"}


def test_what_decides_retrains_nothing(changed_by: Callable[[str], set[str]]) -> None:
    assert changed_by("components/gate/decide.py") == {"ReleaseGate"}


def test_what_example_gen_takes_from_the_trainer_is_in_its_key(
    changed_by: Callable[[str], set[str]],
) -> None:
    assert "ExampleGen" in changed_by("trainer/features.py")


def test_another_network_leaves_the_data_as_they_are(
    changed_by: Callable[[str], set[str]],
) -> None:
    assert changed_by("trainer/architectures.py") == {"Trainer", "Tuner"}


def test_a_packages_init_belongs_to_all_that_import_from_it(
    changed_by: Callable[[str], set[str]],
) -> None:
    assert changed_by("components/serving_check/__init__.py") == {"ServingCheck"}


def test_the_program_of_a_child_process_belongs_to_what_starts_it(
    changed_by: Callable[[str], set[str]],
) -> None:
    assert changed_by("components/serving_check/tensorflow_loader.py") == {"ServingCheck"}
    assert changed_by("trainer/host/child_main.py") == {"Trainer", "Tuner", "ServingCheck"}


def test_what_no_component_runs_changes_no_key(changed_by: Callable[[str], set[str]]) -> None:
    assert changed_by("pipeline/cli/main.py") == set()


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
def test_an_import_counts_where_it_runs(
    sources: Path, changed_by: Callable[[str, str], set[str]], line: str, counts: bool
) -> None:
    changed_by("trainer/progress.py", line)
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
