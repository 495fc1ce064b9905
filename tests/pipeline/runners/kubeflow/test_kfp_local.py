"""The program that runs kfp, as far as no container is needed."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.runners.kubeflow import kfp_local
from tests.pipeline.runners.kubeflow.fake_kfp import FakeKfp

# A run that does not end by itself, beside another one.
WAITS = "start('ours', 'run-1'); start('another', 'run-2'); print('started')\n"


def _check(python: str, image: str = "image", **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-I", kfp_local.__file__, "check", image],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", **env},
    )


def test_a_python_without_kfp_is_said_in_one_line(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    done = _check(str(bare / "bin" / "python"))
    assert done.returncode == 1
    assert done.stdout.endswith(
        "has no kfp, expected kfp and docker: pip install '.[kubeflow]' in the checkout, or name "
        "another Python with --kfp-python\n"
    )


def test_an_engine_or_a_newer_kfp_that_is_missing_is_said_in_one_line() -> None:
    done = _check(sys.executable, DOCKER_HOST="unix:///nowhere/docker.sock")
    (line,) = done.stdout.splitlines()[-1:]
    expected = "expected 2.16 or newer" if sys.version_info < (3, 11) else "no container engine"
    assert done.returncode == 1
    assert expected in line


@pytest.mark.parametrize(
    ("image", "name"),
    [
        *((image, "localhost/image:1") for image in ("image:1", "localhost/image:1")),
        ("4d1e", "r.example/image@sha256:4d1e"),  # pulled by its digest, so it has no tag
    ],
)
def test_an_image_is_known_by_its_own_name_which_kfp_compares(
    tmp_path: Path, image: str, name: str
) -> None:
    done = _check(FakeKfp(tmp_path).python, image)
    assert (done.returncode, done.stdout) == (0, f"{name}\n")


@pytest.mark.parametrize(
    ("image", "code", "line"),
    [
        ("image:2", 1, "there is no image image:2: make it with `make image`, or pull it"),
        ("0f3c", 1, "the image 0f3c has no name, expected one, by which kfp finds it: tag it"),
        (
            "Image!",
            2,
            "the image is 'Image!', expected a name such as localhost/tfx-mnist:0.1.0: the engine "
            "says 500 Server Error: invalid reference format",
        ),
        (
            "",
            2,
            "the image is '', expected a name such as localhost/tfx-mnist:0.1.0: the engine says "
            "Resource ID was not provided",
        ),
    ],
)
def test_an_image_that_cannot_be_run_is_said_in_one_line(
    tmp_path: Path, image: str, code: int, line: str
) -> None:
    done = _check(FakeKfp(tmp_path).python, image)
    assert (done.returncode, done.stdout, done.stderr) == (code, f"{line}\n", "")


def _start(kfp: FakeKfp, folder: Path, started_by: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """A run, by itself."""
    (folder / "pipeline.yaml").write_text("a pipeline")
    order = {
        "pipeline": str(folder / "pipeline.yaml"),
        "pipeline_root": str(folder),
        "run_id": "run-1",
        "user": "7:7",
        "environment": {"KFP_RUN_ID": "run-1"},
        "mounts": [
            {"path": "/serving", "read_only": False},
            {"path": "/data", "read_only": True},
        ],
    }
    return subprocess.Popen(
        [*started_by, kfp.python, "-I", kfp_local.__file__, "run", json.dumps(order)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def test_a_task_has_no_network_the_user_and_data_to_read_only(tmp_path: Path) -> None:
    kfp = FakeKfp(tmp_path)
    with _start(kfp, tmp_path) as run:
        assert run.wait(300) == 0
    assert kfp.noted("text") == "a pipeline"
    assert kfp.noted("init") == {
        "network_mode": "none",
        "user": "7:7",
        "environment": {"KFP_RUN_ID": "run-1"},
        "labels": {"tfx-mnist.run": "run-1"},
        "mounts": [
            {"target": "/serving", "source": "/serving", "type": "bind", "read_only": False},
            {"target": "/data", "source": "/data", "type": "bind", "read_only": True},
        ],
        "pipeline_root": str(tmp_path),
    }


def test_local_runner_does_not_flush_but_what_a_task_says_comes_at_once(tmp_path: Path) -> None:
    kfp = FakeKfp(tmp_path, "print('started'); time.sleep(600)")
    with _start(kfp, tmp_path) as run:
        assert run.stdout.readline() == "started\n"
        assert run.poll() is None
        run.terminate()


def test_a_task_that_failed_is_kfps_last_line(tmp_path: Path) -> None:
    kfp = FakeKfp(tmp_path, "raise RuntimeError('Inner task failed: Trainer')")
    with _start(kfp, tmp_path) as run:
        assert run.stdout.read() == "Inner task failed: Trainer\n"
    assert run.returncode == 1


# As a shell starts a command with &.
IN_BACKGROUND = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_containers_of_the_run_also_in_a_shells_background(
    tmp_path: Path, number: int
) -> None:
    kfp = FakeKfp(tmp_path, WAITS + "time.sleep(60)")
    with _start(kfp, tmp_path, IN_BACKGROUND) as run:
        assert run.stdout.readline() == "started\n"
        run.send_signal(number)
        assert run.wait(300) != 0
    assert kfp.running == {"another"}


def test_nobody_reads_any_more_and_the_containers_end(tmp_path: Path) -> None:
    kfp = FakeKfp(tmp_path, WAITS + "while True: time.sleep(0.1); say('Trainer', 'progress')")
    with _start(kfp, tmp_path) as run:
        assert run.stdout.readline() == "started\n"
        run.stdout.close()
        assert run.wait(300) != 0
    assert kfp.running == {"another"}


def test_it_ends_the_containers_of_a_run_that_cannot_do_it_itself(tmp_path: Path) -> None:
    kfp = FakeKfp(tmp_path, WAITS + "os.kill(os.getpid(), signal.SIGKILL)")
    with _start(kfp, tmp_path) as run:
        assert run.wait(300) == -signal.SIGKILL
    assert kfp.running == {"ours", "another"}
    subprocess.run([kfp.python, "-I", kfp_local.__file__, "stop", "run-1"], check=True)
    assert kfp.running == {"another"}
