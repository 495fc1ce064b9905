"""Runs a compiled pipeline with kfp's local runner; a program of its own, started by path.

    python -I kfp_local.py check localhost/tfx-mnist:0.1.0
    python -I kfp_local.py run '{"pipeline": "pipeline.yaml", "pipeline_root": "/tmp/run",
        "run_id": "20261124T103000Z-3f2a", "user": "1000:1000", "environment": {},
        "mounts": [{"path": "/tmp/serving", "read_only": false}]}'
    python -I kfp_local.py stop 20261124T103000Z-3f2a

It needs kfp and docker and nothing of this project, so a Python without TFX and with another
protobuf can run it. The containers have no network, and their output is printed here.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from pathlib import Path
from typing import Any

KFP = (2, 16)
LABEL = "tfx-mnist.run"


def check(image: str) -> tuple[int, str]:
    """Checks that kfp, the engine and the image exist.

    Returns:
      (0, the image's full name, since kfp pulls an image whose full name it does not find), or 1
      for something that this machine lacks, or 2 for a bad name, with the reason in one line.
    """
    try:
        import kfp

        import docker
    except ImportError as error:
        return 1, (
            f"{sys.executable} has no {error.name}, expected kfp and docker: pip install "
            "'.[kubeflow]' in the checkout, or name another Python with --kfp-python"
        )
    if tuple(map(int, kfp.__version__.split(".")[:2])) < KFP:
        return 1, (
            f"{sys.executable} has kfp {kfp.__version__}, expected {'.'.join(map(str, KFP))} or "
            "newer, whose local runner runs whole pipelines: name another Python with --kfp-python"
        )
    try:
        client = docker.from_env()
        client.ping()
    except docker.errors.DockerException as error:
        return 1, (
            f"no container engine answers ({error}): start Docker, or `podman system service` and "
            "set DOCKER_HOST"
        )
    try:
        found = client.images.get(image)
    except docker.errors.ImageNotFound:
        return 1, f"there is no image {image}: make it with `make image`, or pull it"
    except docker.errors.DockerException as error:
        return 2, (
            f"the image is {image!r}, expected a name such as localhost/tfx-mnist:0.1.0: the "
            f"engine says {error}"
        )
    own = [*found.tags, *(found.attrs.get("RepoDigests") or ())]
    if not own:
        return 1, f"the image {image} has no name, expected one, by which kfp finds it: tag it"
    return 0, str(own[0])


def run(order: dict[str, Any]) -> int:
    """Runs the pipeline; returns 0 if every task ended well, else 1. No container outlives it.

    SIGINT and SIGTERM raise KeyboardInterrupt.
    """
    # Python leaves SIGINT alone where it came ignored, as to what a shell starts with &.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    # kfp does not flush what a task says (kfp 2.16, kfp/local/docker_task_handler.py).
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    import docker.types
    from kfp import components, local

    local.init(
        runner=local.DockerRunner(
            network_mode="none",
            user=order["user"],
            environment=order["environment"],
            labels={LABEL: order["run_id"]},
            mounts=[
                docker.types.Mount(
                    one["path"], one["path"], type="bind", read_only=one["read_only"]
                )
                for one in order["mounts"]
            ],
        ),
        pipeline_root=order["pipeline_root"],
    )
    pipeline = components.load_component_from_text(
        Path(order["pipeline"]).read_text(encoding="utf-8")
    )
    try:
        pipeline()  # calling it runs it
    except RuntimeError as error:  # kfp's own for a task that failed
        print(error)
        return 1
    finally:
        stop(order["run_id"])
    return 0


def stop(run_id: str) -> None:
    """Ends the containers of a run, including those that the engine is about to start."""
    import docker

    for container in docker.from_env().containers.list(
        all=True, filters={"label": f"{LABEL}={run_id}"}, ignore_removed=True
    ):
        with contextlib.suppress(docker.errors.APIError):  # it does not run (any more)
            container.kill()
        with contextlib.suppress(docker.errors.APIError):  # the engine removes what has ended
            container.remove(force=True)


def main(words: list[str]) -> int:
    """Runs a command line."""
    if words[0] == "check":
        exit_code, line = check(words[1])
        print(" ".join(line.split()))
        return exit_code
    if words[0] == "stop":
        stop(words[1])
        return 0
    return run(json.loads(words[1]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
