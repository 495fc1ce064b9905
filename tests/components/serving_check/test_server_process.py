import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.serving_check.contract import ServerLost
from components.serving_check.server_process import server_process
from tests.components.serving_check.leftovers import running
from tests.waiting import wait_until

ROOT = Path(__file__).parents[3]


def _python(code: str) -> list[str]:
    return [sys.executable, "-u", "-c", code]


def test_the_peak_of_memory_is_kept_when_it_is_freed(tmp_path):
    code = "import time; held = bytearray(200 << 20); del held; print('freed'); time.sleep(60)"
    with server_process(_python(code), tmp_path) as process:
        wait_until(lambda: "freed" in process.last_line())
        assert 200 < process.peak_memory_mib() < 260  # Python takes some itself


@pytest.mark.parametrize(
    ("code", "ending", "by_itself"),
    [
        ("print('one'); print('two'); raise SystemExit(3)", "exit status 3: two", True),
        # as TensorFlow Serving ends
        (
            r"print('one'); print('two:\n\t [[node]]}, }'); exit(3)",
            "exit status 3: two: [[node]]}, }",
            True,
        ),
        ("import os; os.abort()", "SIGABRT", True),
        ("import os; os.kill(os.getpid(), 11)", "SIGSEGV", True),
        ("import os; os.kill(os.getpid(), 9)", "SIGKILL", False),
        ("import os; os.kill(os.getpid(), 15)", "SIGTERM", False),
        ("raise SystemExit(137)", "SIGKILL", False),  # as a shell says of what it has run
    ],
)
def test_it_says_how_the_server_ended_and_whether_by_itself(tmp_path, code, ending, by_itself):
    with server_process(_python(code), tmp_path) as process:
        lost = process.lost()
        assert (str(lost), lost.by_itself) == (f"the server ended with {ending}", by_itself)
        assert process.ended()
        with pytest.raises(ServerLost, match="the server ended with"):
            process.peak_memory_mib()


def test_a_server_is_stopped_with_its_children_and_on_errors(tmp_path):
    script = f'sleep 1000 "{tmp_path}" & sleep 1000 "{tmp_path}"'
    with pytest.raises(RuntimeError), server_process(["sh", "-c", script], tmp_path):
        raise RuntimeError
    wait_until(lambda: not running(str(tmp_path)))


def test_nothing_is_left_when_its_user_is_killed_with_the_whole_job(tmp_path):
    directory = tmp_path / "temporary"
    directory.mkdir()
    (directory / "link").symlink_to(ROOT)
    code = (
        "import os, pathlib, signal\n"
        "from components.serving_check.server_process import server_process\n"
        f"directory = pathlib.Path({str(directory)!r})\n"
        "with server_process(['tail', '-f', '/dev/null', str(directory)], directory):\n"
        "    os.killpg(0, signal.SIGKILL)\n"
    )
    done = subprocess.run(_python(code), cwd=ROOT, check=False, start_new_session=True)
    assert done.returncode == -signal.SIGKILL
    wait_until(lambda: not directory.exists() and not running(str(directory)))
    assert (ROOT / "components").is_dir()


def test_a_program_that_cannot_be_started_is_nobodys_fault(tmp_path):
    not_started = pytest.raises(
        ServerLost, match=r"the server cannot be started: .*no such program"
    )
    with not_started as lost, server_process(["no such program"], tmp_path):
        pass
    assert not lost.value.by_itself
