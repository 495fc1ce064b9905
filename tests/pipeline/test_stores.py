import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.serving_dir.model_files import scan
from pipeline import stores
from tests import http_servers
from tests.loopback import free_ports
from tests.refusals import refusal_of
from tests.s3 import BUCKET, s3_server

URI = f"s3://{BUCKET}/a/b"


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.mark.usefixtures("s3")
def test_a_directory_comes_back_as_it_was(tmp_path: Path) -> None:
    large = bytes(range(256)) * (40 << 10)  # 10 MiB: S3 takes it in parts
    files = {"saved_model.pb": large, "variables/data": b"weights", "EMPTY": b"", "x.gz": b"raw"}
    made = write(tmp_path / "made", files)
    (made / "assets" / "none").mkdir(parents=True)
    stores.upload(made, f"{URI}/model/1")
    stores.download(f"{URI}/model/1", tmp_path / "back")
    back = scan(tmp_path / "back")
    assert (back.files, back.directories) == (scan(made).files, scan(made).directories)
    assert {name: (tmp_path / "back" / name).read_bytes() for name in back.files} == files


@pytest.mark.usefixtures("s3")
def test_a_directory_without_files_exists_and_one_that_was_never_written_does_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "nothing").mkdir()
    stores.upload(tmp_path / "nothing", f"{URI}/pushed/1")
    assert stores.exists(f"{URI}/pushed/1")
    assert not stores.exists(f"{URI}/pushed/2")
    stores.download(f"{URI}/pushed/1", tmp_path / "copies" / "back")
    assert list((tmp_path / "copies" / "back").iterdir()) == []


@pytest.mark.usefixtures("s3")
def test_arrow_never_waits_for_a_thread_that_waits_for_it(tmp_path: Path) -> None:
    """It has eight, and its own copies of more files end never: each one holds a thread."""
    made = write(tmp_path / "made", {"0": b"weights", "1": b"more"})
    program = (
        "import sys, pathlib, pyarrow; from pipeline import stores\n"
        "made, back = map(pathlib.Path, sys.argv[2:]); pyarrow.set_io_thread_count(1)\n"
        "stores.upload(made, sys.argv[1]); stores.download(sys.argv[1], back)\n"
    )
    command = [sys.executable, "-c", program, f"{URI}/model/1", str(made), str(tmp_path / "back")]
    subprocess.run(command, check=True, timeout=60)
    assert (tmp_path / "back" / "1").read_bytes() == b"more"


@pytest.mark.usefixtures("s3")
def test_a_usable_store_is_left_with_one_small_object() -> None:
    for _ in range(2):  # it may be there already
        stores.require_usable(f"s3://{BUCKET}/used/")
    assert stores.exists(f"s3://{BUCKET}/used/.tfx-mnist")


@pytest.mark.usefixtures("s3")
def test_nothing_is_written_outside_the_directory(tmp_path: Path) -> None:
    """Where this user may have no rights."""
    import boto3

    uri = f"s3://{BUCKET}/others/ours"
    made = write(tmp_path / "made", {"variables/data": b"weights"})
    stores.require_usable(uri)
    stores.upload(made, f"{uri}/model/1")
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    listed = client.list_objects_v2(Bucket=BUCKET, Prefix="others/")["Contents"]
    below = [one["Key"].removeprefix("others/ours/") for one in listed]
    wanted = [".tfx-mnist", "model/", "model/1/", "model/1/variables/", "model/1/variables/data"]
    assert below == wanted


@pytest.mark.usefixtures("s3")
def test_an_artifact_that_is_gone_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(stores.StoreError, match=f"^cannot read {URI}/gone: .*choose another"):
        stores.download(f"{URI}/gone", tmp_path / "back")


def refusal(uri: str) -> str:
    line = refusal_of(stores.StoreError, stores.require_usable, uri)
    assert line.startswith(f"cannot use {uri}: ")
    assert line.endswith(
        "; expected a bucket that exists and in which this user may list, read and write; see to "
        "its name, the credentials, SSL_CERT_FILE and, for S3, AWS_ENDPOINT_URL, or choose another "
        "--artifacts"
    )
    return line


@pytest.mark.usefixtures("s3")
def test_a_missing_bucket_is_refused() -> None:
    assert "NO_SUCH_BUCKET" in refusal("s3://no-such-bucket/a")


@pytest.mark.usefixtures("s3")
def test_a_server_that_is_gone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    assert "connect" in refusal(URI).lower()
    monkeypatch.setattr(stores, "_ATTEMPTS", 1)
    with pytest.raises(stores.StoreError, match=f"^cannot read {URI}: .*choose another"):
        stores.exists(URI)


@pytest.mark.usefixtures("s3")
def test_in_a_run_a_store_that_is_out_of_order_for_seconds_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = [503, 503, 503, 200]

    class Starting(http_servers.Handler):
        def do_HEAD(self) -> None:
            self.answer(answers.pop(0))

    with http_servers.serving(Starting) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        assert stores.exists(URI)
    assert answers == []


@pytest.mark.usefixtures("s3")
def test_the_path_of_an_endpoint_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class BelowAPath(http_servers.Handler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.answer(200)

    with http_servers.serving(BelowAPath) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"{url}/storage/v1/s3/")
        assert stores.exists(URI)
    assert asked == [f"/storage/v1/s3/{BUCKET}/a/b"]


@pytest.mark.usefixtures("s3")
def test_a_signal_is_obeyed_while_the_store_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "_ATTEMPTS", 1)
    former = signal.signal(signal.SIGALRM, signal.default_int_handler)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(KeyboardInterrupt):
            stores.exists(URI)
    signal.signal(signal.SIGALRM, former)


def test_google_is_asked_for_short_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "_PROBE_S", 0.2)
    begin = time.monotonic()
    assert refusal("gs://no-such-bucket/a").startswith("cannot use gs://no-such-bucket/a: ")
    assert time.monotonic() - begin < stores._ANSWER_S / 2


def test_why_there_is_no_token_for_google_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/none.json")
    assert "Cannot open credentials file /none.json" in refusal("gs://another-bucket/a")


def test_a_server_that_knows_no_such_user_is_refused() -> None:
    with s3_server(allows=()):
        assert "ACCESS" in refusal(URI)


RIGHTS = ("s3:ListBucket", "s3:GetObject", "s3:PutObject")


@pytest.mark.parametrize("missing", RIGHTS)
def test_a_user_who_lacks_a_right_is_refused(missing: str) -> None:
    with s3_server(allows=tuple(right for right in RIGHTS if right != missing)):
        assert "ACCESS_DENIED" in refusal(URI)


def test_a_user_who_may_list_read_and_write_is_not(tmp_path: Path) -> None:
    made = write(tmp_path / "made", {"model": b"weights"})
    with s3_server(allows=RIGHTS):
        stores.require_usable(URI)
        stores.upload(made, f"{URI}/model/1")
        stores.download(f"{URI}/model/1", tmp_path / "back")
    assert (tmp_path / "back" / "model").read_bytes() == b"weights"
