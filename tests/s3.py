"""An S3 server on the loopback interface, a process of its own: moto's."""

import contextlib
import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus

from tests.loopback import free_ports

BUCKET = "bucket"
START_S = 180
_KEYS = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextlib.contextmanager
def s3_server(*, denies: bool = False) -> Iterator[Mapping[str, str]]:
    """Serves one empty bucket; gives the environment of its clients.

    With `denies` it knows none of them.
    """
    (port,) = free_ports(1)
    server = {"INITIAL_NO_AUTH_ACTION_COUNT": "1"} if denies else {}
    command = [sys.executable, "-m", "moto.server", "--host=127.0.0.1", f"--port={port}"]
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **_KEYS, **server},
    ) as process:
        try:
            _make_bucket(port, process)
            yield {**_KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        finally:
            process.kill()


def _make_bucket(port: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + START_S
    while True:
        client = http.client.HTTPConnection("127.0.0.1", port)
        try:
            client.request("PUT", f"/{BUCKET}")
            assert client.getresponse().status == HTTPStatus.OK
            return
        except ConnectionRefusedError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        finally:
            client.close()
