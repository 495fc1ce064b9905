"""An S3 server on the loopback interface, a process of its own: moto's."""

import contextlib
import http.client
import os
import subprocess
import sys
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from tests.loopback import answers, free_ports
from tests.waiting import wait_until

BUCKET = "bucket"
_KEYS = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextlib.contextmanager
def s3_server(*, denies: bool = False) -> Iterator[None]:
    """Serves one empty bucket, to which the environment leads while the block runs.

    With `denies` it does not know the user of that environment.
    """
    (port,) = free_ports(1)
    server = {"INITIAL_NO_AUTH_ACTION_COUNT": "1"} if denies else {}
    command = [sys.executable, "-m", "moto.server", "--host=127.0.0.1", f"--port={port}"]
    with (
        pytest.MonkeyPatch.context() as patch,
        subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **_KEYS, **server},
        ) as process,
    ):
        try:
            wait_until(lambda: answers(port), process)
            _make_bucket(port)
            for name, value in {**_KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}.items():
                patch.setenv(name, value)
            yield
        finally:
            process.kill()


def _make_bucket(port: int) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as client:
        client.request("PUT", f"/{BUCKET}")
        assert client.getresponse().status == HTTPStatus.OK
