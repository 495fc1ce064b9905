"""An S3 server on the loopback interface, a process of its own: moto's."""

import contextlib
import http.client
import json
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
def s3_server(*, allows: tuple[str, ...] | None = None) -> Iterator[None]:
    """Serves one empty bucket, to which the environment leads while the block runs.

    With `allows` the user of that environment may do these actions alone; with none the server does
    not know the user.
    """
    (port,) = free_ports(1)
    before = 1 + (3 if allows else 0)  # actions that need no user: what the block below does
    server = {} if allows is None else {"INITIAL_NO_AUTH_ACTION_COUNT": str(before)}
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
            if allows:
                for name, value in zip(_KEYS, _make_user(port, allows), strict=False):
                    patch.setenv(name, value)
            yield
        finally:
            process.kill()


def _make_bucket(port: int) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as client:
        client.request("PUT", f"/{BUCKET}")
        assert client.getresponse().status == HTTPStatus.OK


def _make_user(port: int, actions: tuple[str, ...]) -> tuple[str, str]:
    """Returns the two keys of a user who may do these actions."""
    import boto3

    allowed = [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]
    policy = json.dumps({"Version": "2012-10-17", "Statement": allowed})
    iam = boto3.client("iam", endpoint_url=f"http://127.0.0.1:{port}")
    iam.create_user(UserName="user")
    iam.put_user_policy(UserName="user", PolicyName="policy", PolicyDocument=policy)
    key = iam.create_access_key(UserName="user")["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]
