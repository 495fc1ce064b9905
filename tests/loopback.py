"""Processes of this machine that find each other over the loopback interface."""

import contextlib
import json
import socket
from collections.abc import Sequence

# As `http_proxy`: whoever goes through it goes nowhere, and gRPC tries again for good.
NO_PROXY_THERE = "http://127.0.0.1:9"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listened on a moment ago, each another one."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def answers(port: int) -> bool:
    """Whether somebody listens on it."""
    with socket.socket() as client:
        return client.connect_ex(("localhost", port)) == 0


def tf_config(ports: Sequence[int], index: int) -> str:
    """TF_CONFIG of one of the machines that train together, a port each; the first is the chief."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    return json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
