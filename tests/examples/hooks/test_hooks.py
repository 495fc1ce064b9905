"""The examples of hooks, as `tell` runs them, against servers on this machine."""

import sys
from pathlib import Path

import pytest

from components.gate.check import Check
from components.gate.evidence import Evidence, Tally
from pipeline.config import HooksConfig
from pipeline.hooks import Told, tell
from pipeline.result import FAILED, REFUSED, RELEASED, Release, RunResult
from tests.examples.hooks.servers import chat, mlflow, registry
from tests.http_servers import Handler, serving

pytestmark = pytest.mark.once  # of the standard library alone

UNREACHABLE = "http://127.0.0.1:1"  # nothing listens on port 1

FOLDER = Path(__file__).parents[3] / "examples" / "hooks"


@pytest.fixture(autouse=True)
def _model_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_SOURCE", "s3://models/{version}")


def run(script: str, event: str, fields: dict) -> Told:
    command = (sys.executable, str(FOLDER / script))
    told = tell(HooksConfig(**{event: command}), event, fields)
    return told


def result(outcome: str, path: str = "serving/2", **fields: object) -> dict:
    tally = Tally(100, 98)
    evidence = Evidence(tally, {"0": tally}, {}, cross_entropy=0.1, top_2_accuracy=1.0)
    release = Release(2, path) if outcome == RELEASED else None
    known = {"dataset": {"name": "mnist"}, "evidence": evidence, "release": release}
    return RunResult("20261127T010000Z-3f2a", outcome, **{**known, **fields}).to_dict()


REFUSAL = Check("accuracy", False, 0.9, 0.96, "accuracy is 0.9000, required is 0.9600")
ROLLBACK = {"version": 4, "restores": 2, "withdraws": 3, "reason": "sevens", "path": "serving/4"}


class TestChat:
    @pytest.mark.parametrize(
        ("event", "fields", "text"),
        [
            (
                "released",
                result(RELEASED),
                "[released] mnist: version 2 is served, accuracy 0.9800",
            ),
            (
                "refused",
                result(REFUSED, checks=(REFUSAL,)),
                "[refused] mnist: accuracy is 0.9000, required is 0.9600",
            ),
            ("failed", result(FAILED, error="no disk"), "[failed] mnist: no disk"),
            (
                "failed",
                result(FAILED, error="<!channel> & <http://evil|no disk>"),
                "mnist: &lt;!channel&gt; &amp; &lt;http://evil|no disk&gt;",
            ),
            ("failed", RunResult("x", FAILED, error="no set").to_dict(), "the data set: no set"),
            ("rolled_back", ROLLBACK, "[rolled_back] version 4 restores 2: sevens"),
        ],
    )
    def test_it_posts_each_outcome(
        self, event: str, fields: dict, text: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        posts: list[dict] = []
        with serving(chat(posts)) as address:
            monkeypatch.setenv("CHAT_WEBHOOK", f"{address}/hooks/secret")
            assert run("chat.py", event, fields) == ("", "the chat answered 200")
        assert len(posts) == 1
        assert posts[0]["text"].endswith(text)

    def test_a_chat_that_is_down_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with serving(chat([], status=503)) as address:
            monkeypatch.setenv("CHAT_WEBHOOK", address)
            told = run("chat.py", "released", result(RELEASED))
        assert told.output == "the chat does not take it: HTTP Error 503: Service Unavailable"
        assert told.output in told.complaint

    @pytest.mark.parametrize("address", ["chat.example/secret", "http://localhost/secret no"])
    def test_what_is_no_address_is_said_and_kept_secret(
        self, address: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CHAT_WEBHOOK", address)
        told = run("chat.py", "released", result(RELEASED))
        assert "exit status 1: CHAT_WEBHOOK is not the address of a webhook, exp" in told.complaint
        assert "secret" not in told.output


@pytest.mark.parametrize("script", ["chat.py", "mlflow_registry.py", "oci_push.py"])
def test_a_server_of_another_protocol_is_one_line(
    script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ssh(Handler):
        def do_POST(self) -> None:
            self.body()
            self.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")

        do_GET = do_POST

    with serving(Ssh) as address:
        monkeypatch.setenv("CHAT_WEBHOOK", f"{address}/secret")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.setenv("OCI_REPOSITORY", f"{address}/models/mnist")
        told = run(script, "released", result(RELEASED))
    named = "the chat" if script == "chat.py" else address
    assert told.output.startswith(named)
    assert told.output.endswith(" answered 'SSH-2.0-OpenSSH_9.2', expected HTTP")
    assert told.output in told.complaint


@pytest.mark.parametrize("script", ["mlflow_registry.py", "oci_push.py"])
def test_a_server_that_cannot_be_reached_is_one_line(
    script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", UNREACHABLE)
    monkeypatch.setenv("OCI_REPOSITORY", f"{UNREACHABLE}/models/mnist")
    told = run(script, "released", result(RELEASED))
    assert told.output.startswith(f"{UNREACHABLE}/")
    assert told.output.endswith(" cannot be reached: [Errno 111] Connection refused")
    assert told.output in told.complaint


@pytest.mark.parametrize(
    ("script", "variable", "address"),
    [
        ("mlflow_registry.py", "MLFLOW_TRACKING_URI", "databricks"),
        ("mlflow_registry.py", "MLFLOW_TRACKING_URI", "127.0.0.1:5000"),
        ("mlflow_registry.py", "MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:1"),
        ("oci_push.py", "OCI_REPOSITORY", "127.0.0.1:5000/models/mnist"),
        ("oci_push.py", "OCI_REPOSITORY", "oci://127.0.0.1/models/mnist"),
        ("oci_push.py", "OCI_REPOSITORY", "http://me:secret@127.0.0.1:1/models"),
        ("oci_push.py", "OCI_REPOSITORY", f"{UNREACHABLE}/"),
        ("oci_push.py", "OCI_REPOSITORY", f"{UNREACHABLE}/models/MNIST"),
        ("oci_push.py", "OCI_REPOSITORY", f"{UNREACHABLE}/models/mnist:latest"),
        ("oci_push.py", "OCI_REPOSITORY", f"{UNREACHABLE}/models/a b"),
    ],
)
def test_what_is_no_address_is_said_and_its_password_kept_secret(
    script: str, variable: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, address)
    told = run(script, "released", result(RELEASED))
    assert f"exit status 1: {variable} is not the address of a" in told.complaint
    assert "\n" not in told.output
    assert "secret" not in told.output


@pytest.mark.parametrize(
    ("script", "variable"),
    [
        ("chat.py", "CHAT_WEBHOOK"),
        ("mlflow_registry.py", "MLFLOW_TRACKING_URI"),
        ("mlflow_registry.py", "MODEL_SOURCE"),
        ("oci_push.py", "OCI_REPOSITORY"),
    ],
)
def test_a_variable_that_is_not_set_is_named(
    script: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", UNREACHABLE)
    monkeypatch.delenv(variable, raising=False)
    told = run(script, "released", result(RELEASED))
    assert told.output.startswith(f"{variable} is not ")
    assert "\n" not in told.output


class TestMLflow:
    def test_releases_become_versions_and_the_alias_moves(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        models: dict[str, dict] = {}
        with serving(mlflow(models)) as address:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
            monkeypatch.setenv("MODEL_SOURCE", "s3://models/mnist/{version}")
            first = run("mlflow_registry.py", "released", result(RELEASED))
            second = run("mlflow_registry.py", "released", result(RELEASED))
        assert first == ("", "mnist 1 is registered, and is @served")
        assert second == ("", "mnist 2 is registered, and is @served")
        assert models["mnist"]["aliases"] == {"served": "2"}
        version = models["mnist"]["versions"][0]
        assert version["source"] == "s3://models/mnist/2"
        assert {tag["key"]: tag["value"] for tag in version["tags"]} == {
            "tfx_mnist.run": "20261127T010000Z-3f2a",
            "tfx_mnist.version": "2",
            "tfx_mnist.accuracy": "0.980000",
        }

    def test_a_refused_source_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with serving(mlflow({})) as address:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
            monkeypatch.setenv("MODEL_SOURCE", "mlflow-artifacts:/serving/{version}")
            told = run("mlflow_registry.py", "released", result(RELEASED))
        assert f"{address}/api/2.0/mlflow/model-versions/create answered 400: " in told.complaint
        assert "Invalid model version source: 'mlflow-artifacts:/serving/2'." in told.complaint

    def test_a_data_set_whose_name_has_a_slash_is_registered(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serving(mlflow({})) as address:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
            fields = result(RELEASED, dataset={"name": "emnist/balanced"})
            told = run("mlflow_registry.py", "released", fields)
        assert told == ("", "emnist_balanced 1 is registered, and is @served")

    def test_what_is_no_mlflow_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with serving(chat([], status=404)) as address:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{address}/mlflow/")
            told = run("mlflow_registry.py", "released", result(RELEASED))
        assert f"{address}/mlflow/api/2.0/mlflow/registered-models/create answered 404: ok" in (
            told.complaint
        )

    def test_an_answer_that_is_no_json_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with serving(chat([])) as address:  # as a page to log in that stands before MLflow
            monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
            told = run("mlflow_registry.py", "released", result(RELEASED))
        said = f"{address}/api/2.0/mlflow/registered-models/create answered no JSON, expected MLfl"
        assert told.output.startswith(said)
        assert told.output.endswith(": ok")

    @pytest.mark.parametrize(
        ("given", "authorization"),
        [
            ({"USERNAME": "me", "PASSWORD": "se:cret"}, "Basic bWU6c2U6Y3JldA=="),
            ({"TOKEN": "xyz\n"}, "Bearer xyz"),  # as a file of a secret ends
        ],
    )
    def test_it_says_who_asks_as_mlflows_client_does(
        self, given: dict[str, str], authorization: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serving(mlflow({}, authorization=authorization)) as address:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
            refused = run("mlflow_registry.py", "released", result(RELEASED))
            for name, value in given.items():
                monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
            told = run("mlflow_registry.py", "released", result(RELEASED))
        assert "answered 401: You are not authenticated. Please see" in refused.complaint
        assert told == ("", "mnist 1 is registered, and is @served")


class TestOci:
    def test_the_files_are_pushed_under_the_versions_number(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "variables").mkdir()
        files = {"saved_model.pb": b"graph", "variables/data": b"weights", "copy": b"weights"}
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        blobs: dict[str, bytes] = {}
        tags: dict[str, dict] = {}
        with serving(registry(blobs, tags)) as address:
            monkeypatch.setenv("OCI_REPOSITORY", f"{address}/models/mnist")
            told = run("oci_push.py", "released", result(RELEASED, path=str(tmp_path)))
        assert told == ("", f"pushed 3 files as {address}/models/mnist:2")
        title = "org.opencontainers.image.title"
        pulled = {
            layer["annotations"][title]: blobs[layer["digest"]] for layer in tags["2"]["layers"]
        }
        assert pulled == files
        assert len(blobs) == 3  # the empty configuration, and two contents

    def test_a_registry_that_keeps_its_blobs_elsewhere_is_not_followed_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "saved_model.pb").write_bytes(b"graph")
        with serving(registry({}, {}, elsewhere=UNREACHABLE)) as address:
            monkeypatch.setenv("OCI_REPOSITORY", f"{address}/models/mnist")
            for _ in range(2):
                told = run("oci_push.py", "released", result(RELEASED, path=str(tmp_path)))
        assert told == ("", f"pushed 1 files as {address}/models/mnist:2")

    def push(self, folder: Path, monkeypatch: pytest.MonkeyPatch, repository: str) -> Told:
        (folder / "saved_model.pb").write_bytes(b"graph")
        monkeypatch.setenv("OCI_REPOSITORY", repository)
        return run("oci_push.py", "released", result(RELEASED, path=str(folder)))

    def test_a_registry_that_wants_a_token_gets_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tags: dict[str, dict] = {}
        with serving(registry({}, tags, password="Basic bWU6eA==")) as address:
            repository = f"{address}/models/mnist/"
            refused = self.push(tmp_path, monkeypatch, repository)
            monkeypatch.setenv("OCI_AUTHORIZATION", "Basic bWU6eA==\n")  # as a file ends
            told = self.push(tmp_path, monkeypatch, repository)
        assert f"GET {address}/token?" in refused.complaint
        assert "answered 401: wrong password; see to OCI_AUTHORIZATION" in refused.complaint
        assert told.complaint == ""
        assert set(tags) == {"2"}

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_registry_that_knows_no_such_user_says_where_the_password_is(
        self, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Registry(Handler):
            def do_GET(self) -> None:
                self.answer(401, **{"WWW-Authenticate": 'Basic realm="a registry"'})

            def do_HEAD(self) -> None:
                self.answer(status)

        monkeypatch.setenv("OCI_AUTHORIZATION", "Basic bWU6eA==")
        with serving(Registry) as address:
            told = self.push(tmp_path, monkeypatch, f"{address}/models/mnist")
        assert told.output.startswith(f"HEAD {address}/v2/models/mnist/blobs/sha256:")
        assert f" answered {status}: " in told.output
        assert told.output.endswith("; see to OCI_AUTHORIZATION")

    @pytest.mark.parametrize("answer", [b"<html>log in</html>", b"[]", b'{"expires_in": 300}'])
    def test_an_answer_without_a_token_is_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
    ) -> None:
        class Registry(Handler):
            def do_GET(self) -> None:
                if self.path.startswith("/token?"):
                    return self.answer(200, answer)
                realm = f'Bearer realm="http://{self.headers["Host"]}/token"'
                return self.answer(401, **{"WWW-Authenticate": realm})

        with serving(Registry) as address:
            told = self.push(tmp_path, monkeypatch, f"{address}/models/mnist")
        assert told.output.startswith(f"{address}/token?service=&scope=")
        assert told.output.endswith(" answered no token, expected a JSON object that holds one")

    def test_a_registry_that_names_no_server_of_tokens_is_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Registry(Handler):
            def do_GET(self) -> None:
                self.answer(401, **{"WWW-Authenticate": 'Bearer service="a registry"'})

        with serving(Registry) as address:
            told = self.push(tmp_path, monkeypatch, f"{address}/models/mnist")
        assert told.output == (
            f"{address}/v2/ wants a token and names no server that gives one, expected a realm in "
            "WWW-Authenticate"
        )

    def test_what_a_registry_refuses_is_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serving(registry({}, {})) as address:
            told = self.push(tmp_path, monkeypatch, f"{address}/models")
        assert f"POST {address}/v2/models/blobs/uploads/ answered 404: 404 page not found" in (
            told.complaint
        )
