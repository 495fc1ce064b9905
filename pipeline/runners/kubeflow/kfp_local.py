"""Runs a compiled pipeline with kfp's local runner; started as a program of its own, by path.

    python kfp_local.py '{"pipeline": "pipeline.yaml", "pipeline_root": "/tmp/run",
                          "parameters": {"seed": 1}, "container": {"network_mode": "none"},
                          "mounts": [{"path": "/tmp/serving", "read_only": false}]}'

Needs kfp 2.16 and docker and nothing of this project: a Python that has no TFX, and another
protobuf, can run it. Each task runs in its container, and what that prints comes out here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(order: dict[str, Any]) -> int:
    """Runs it to its end.

    Returns:
      0 when every task ended well, else 1.
    """
    import docker.types
    from kfp import components, local

    mounts = [
        docker.types.Mount(one["path"], one["path"], type="bind", read_only=one["read_only"])
        for one in order["mounts"]
    ]
    local.init(
        runner=local.DockerRunner(mounts=mounts, **order["container"]),
        pipeline_root=order["pipeline_root"],
    )
    text = Path(order["pipeline"]).read_text(encoding="utf-8")
    # It starts when it is called, as the runner is initialized.
    try:
        components.load_component_from_text(text)(**order["parameters"])
    except RuntimeError as error:  # kfp's own for a task that failed, which has said why
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
