import json
from pathlib import Path

import pytest

from pipeline.cli.main import main
from tests import http_servers
from tests.pipeline.cli.processes import process

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An executable tensorflow_model_server, alone on the PATH."""
    file = tmp_path / "bin" / "tensorflow_model_server"
    file.parent.mkdir()
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    monkeypatch.setenv("PATH", str(file.parent))
    return str(file)


@pytest.fixture
def gpus_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFX_MNIST_CUDA_VISIBLE_DEVICES", "all")


def test_there_is_an_aligned_line_for_each_thing(server: str, capfd: Captured) -> None:
    assert main(["doctor"]) == 0
    shown = capfd.readouterr()
    assert shown.err == ""
    rows = dict(line.split("  ", 1) for line in shown.out.splitlines())
    names = "Python,TFX,TensorFlow,Beam,Keras,keras-tuner,kfp,NVIDIA driver,CUDA libraries,Docker"
    assert [name for name in rows if not name.startswith("GPU ")] == [
        *names.split(","),
        *("Podman", "TensorFlow Serving", "used to train", "used to serve", "missing"),
    ]
    starts = {len(line) - len(line.split("  ", 1)[1].lstrip()) for line in shown.out.splitlines()}
    assert starts == {len("TensorFlow Serving  ")}
    assert rows["TensorFlow Serving"].strip() == server
    assert rows["Docker"].strip() == rows["Podman"].strip() == "not on the PATH"
    assert rows["used to train"].strip() == "the CPU"


def test_json_has_the_documented_keys(server: str, capfd: Captured) -> None:
    assert main(["doctor", "--json"]) == 0
    fields = json.loads(capfd.readouterr().out)
    page = (Path(__file__).parents[3] / "docs" / "cli.md").read_text(encoding="utf-8")
    section = page.partition("\n## What the machine has")[2].partition("\n## ")[0]
    assert [key for key in fields if f"`{key}`" not in section] == []
    assert fields["used"] == {"training": "the CPU", "serving_check": server}
    assert (fields["missing"], fields["error"]) == ([], None)
    assert fields["nvidia"]["hidden"] is True or fields["nvidia"]["device"] is None


@pytest.mark.usefixtures("gpus_not_hidden")
def test_gpus_that_are_missing_and_what_a_run_refuses_are_named_together(
    server: str, capfd: Captured
) -> None:
    given = ["--set", "replicas=1000", "--pipeline-root", "/dev/null", "--json"]
    assert main(["doctor", *given]) == 1
    shown = capfd.readouterr()
    fields = json.loads(shown.out)
    *_, replicas, root = fields["missing"]
    assert replicas.startswith("replicas is 1000, ")
    assert root.startswith("pipeline_root needs the directory '/dev/null', ")
    assert fields["error"] == "; ".join(fields["missing"])
    assert shown.err.splitlines() == [f"tfx-mnist: {line}" for line in fields["missing"]]


def test_replicas_are_devices_of_the_cpu_where_gpus_are_hidden(
    server: str, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFX_MNIST_CUDA_VISIBLE_DEVICES", "-1")
    assert main(["doctor", "--replicas", "2"]) == 0
    assert capfd.readouterr().out.splitlines()[-3].endswith("  the CPU, as 2 devices")


def test_a_model_server_that_is_not_there_is_missing(
    tmp_path: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["doctor", "--set", "serving.model_server=tensorflow_model_server"]) == 1
    shown = capfd.readouterr()
    assert shown.err == (
        "tfx-mnist: serving.model_server is 'tensorflow_model_server', expected the path of an "
        "executable tensorflow_model_server; leave it empty to look for one on the PATH\n"
    )
    assert "TensorFlow Serving  not found\n" in shown.out


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (("--pipeline-root", "/dev/null"), "pipeline_root needs the directory '/dev/null', but"),
        (("--beam-arg", "--runner=FlinkRunner"), "Beam's runner 'FlinkRunner' was not seen"),
        (("--set", "hooks.failed=no-such-program"), "hooks.failed begins with 'no-such-program'"),
        (("--set", "serving.signing_key=none.pem"), "cannot read the key none.pem: "),
    ],
)
def test_what_a_run_refuses_before_it_prepares_data_is_missing(
    given: tuple[str, ...], line: str, server: str, capfd: Captured
) -> None:
    assert main(["doctor", *given]) == 1
    assert capfd.readouterr().err.startswith(f"tfx-mnist: {line}")


class FullStore(http_servers.Handler):
    """S3 that begins an upload, and takes no part of it, as Ceph's where a quota is reached."""

    def do_POST(self) -> None:
        begun = (
            b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
        )
        self.answer(200, begun)

    def do_PUT(self) -> None:
        self.body()
        self.answer(403, b"<Error><Code>QuotaExceeded</Code></Error>")


def test_a_store_that_is_full_is_one_line(
    server: str, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrow tries again when the object that it writes is freed, and says so on stderr."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "somebody")
    with http_servers.serving(FullStore) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        assert main(["doctor", "--artifacts", "s3://bucket/a"]) == 1
    assert [line[:37] for line in capfd.readouterr().err.splitlines()] == [
        "tfx-mnist: cannot use s3://bucket/a: "
    ]


def test_what_a_configuration_file_asks_for_counts_too(tmp_path: Path, capfd: Captured) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(f"serving: {{model_server: {tmp_path / 'none'}}}\n")
    assert main(["doctor", "--config", str(file)]) == 1
    assert "serving.model_server is" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--set", "replicas=-1"], "replicas is '-1', expected"),
        (["--dataset", "MNIST!"], "dataset is 'MNIST!', expected"),  # no other check reads it
    ],
)
def test_a_configuration_that_is_wrong_is_refused(
    words: list[str], line: str, capfd: Captured
) -> None:
    assert main(["doctor", *words]) == 2
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"tfx-mnist: {line}")


def test_only_verbose_shows_the_log_of_tensorflow(server: str) -> None:
    environment = {"TF_CPP_MIN_LOG_LEVEL": "0"}
    assert process(["doctor"], environment).stderr == ""
    shown = process(["doctor", "-v"], environment)
    assert shown.returncode == 0
    assert "oneDNN" in shown.stderr
    assert ", imported\n" in shown.stdout
