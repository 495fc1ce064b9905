import os
import random
import shutil
import signal
import subprocess
import sys

import pytest

from trainer.host import child_main, children
from trainer.host.children import python_child, running_child

# A chain of processes, of which the one in the middle is killed.
PARENT = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE).wait()
"""
CHILD = """
import ctypes, os, time
from trainer.host.children import end_with_parent
end_with_parent()
print(os.getpid(), flush=True)
"""
WAITS = {
    "in Python": "time.sleep(600)",
    # As TensorFlow does while it waits for the other machines.
    "in C, holding the interpreter's lock": "ctypes.PyDLL(None).sleep(600)",
}


@pytest.fixture
def standing(tmp_path, monkeypatch):
    """The working directory, empty; what PYTHONPATH names lies beside it."""
    (tmp_path / "here").mkdir()
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "mine"))
    return tmp_path


def _run(*words: str, **variables: str) -> str:
    child = python_child(*words, **variables)
    return subprocess.run(
        child.command,
        env=child.environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    ).stdout


def test_the_module_gets_its_arguments_and_runs_as_the_main_one(standing):
    (standing / "mine" / "asked.py").write_text(
        "import os, sys\nprint(__name__, sys.argv, os.environ['SAID'], os.getcwd())\n"
    )
    file, here = standing / "mine" / "asked.py", standing / "here"
    said = _run("asked", "a b", "--c", SAID="yes")
    assert said == f"__main__ ['{file}', 'a b', '--c'] yes {here}\n"


@pytest.mark.parametrize("tmpdir", ["", "set", "missing"])
def test_a_running_child_has_a_temporary_directory_where_the_user_wants_it(
    standing, monkeypatch, tmpdir
):
    (standing / "set").mkdir()
    monkeypatch.setenv("TMPDIR", str(standing / tmpdir) if tmpdir else "")
    monkeypatch.setattr("tempfile.tempdir", None)  # asks for it again
    (standing / "mine" / "asked.py").write_text(
        "import os, tempfile\n"
        "from trainer.job import Job\n"
        "print(tempfile.mkdtemp())\n"
        "print(Job([], [], '', {'checkpoints': '/root/checkpoints'}).scratch)\n"
    )
    with running_child("asked") as child:
        made, scratch = child.stdout.read().splitlines()
        assert os.path.isdir(made)
    assert not os.path.exists(os.path.dirname(made))
    # Without TMPDIR the images of a training lie in the pipeline root: /tmp may lie in memory.
    wanted = {"": "/root", "set": os.path.dirname(made), "missing": str(standing / "missing")}
    assert scratch == wanted[tmpdir]
    if tmpdir == "set":
        assert made.startswith(str(standing / "set"))


@pytest.mark.parametrize("empty", ["{}:", ":{}", "{}::"])
def test_an_empty_part_of_pythonpath_does_not_stand_for_the_working_directory(
    standing, monkeypatch, empty
):
    monkeypatch.setenv("PYTHONPATH", empty.format(standing / "mine"))
    (standing / "mine" / "asked.py").write_text("import random; print(random.__file__)")
    (standing / "here" / "random.py").write_text("raise SystemExit('trapped')")
    assert _run("asked").strip() == random.__file__


def test_pythonpath_may_name_the_working_directory(standing, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ".")
    (standing / "here" / "asked.py").write_text("print('found')")
    assert _run("asked") == "found\n"


def test_nothing_is_imported_from_the_packages_own_folder(standing):
    (standing / "mine" / "asked.py").write_text(
        "import importlib.util; print(importlib.util.find_spec('child_main'))"
    )
    assert _run("asked") == "None\n"


def test_a_child_runs_the_packages_that_its_parent_runs(standing):
    """By `python -m` inside a checkout, though another one is installed."""
    checkout = standing / "here" / "trainer"
    (checkout / "host").mkdir(parents=True)
    for file in (children.__file__, child_main.__file__):
        shutil.copy(file, checkout / "host")
    for package in (checkout, checkout / "host"):
        (package / "__init__.py").touch()
    (checkout / "asked.py").write_text("print(__file__)")
    (checkout / "asks.py").write_text(
        "import subprocess\nfrom trainer.host.children import python_child\n"
        "subprocess.run(python_child('trainer.asked').command, check=True)\n"
    )
    command = [sys.executable, "-m", "trainer.asks"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    assert said.strip() == str(checkout / "asked.py")


@pytest.mark.parametrize("waits", WAITS.values(), ids=WAITS)
def test_a_process_ends_with_the_one_that_started_it(waits):
    command = [sys.executable, "-c", PARENT, CHILD + waits]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
        try:
            parent.communicate(timeout=300)  # until nobody holds the other end any more
        except subprocess.TimeoutExpired:
            os.kill(child, signal.SIGKILL)
            pytest.fail("it outlives the one that started it")
