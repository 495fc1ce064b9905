"""Handlers of requests, with as much of each service as the examples use, by its own rules."""

import hashlib
import json
import urllib.parse
import uuid

from tests.http_servers import Handler


def chat(posts: list[dict], *, status: int = 200) -> type[Handler]:
    """An incoming webhook, as Slack's: a JSON object with a text."""

    class Chat(Handler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/json"
            posts.append(json.loads(self.body()))
            self.answer(status, b"ok")

    return Chat


def mlflow(models: dict[str, dict], *, authorization: str | None = None) -> type[Handler]:
    """MLflow's registry: models by name, with their `versions` and `aliases`.

    It refuses what the server of MLflow 3.17 refuses.
    """

    class MLflow(Handler):
        def refuse(self, status: int, code: str, message: str = "") -> None:
            told = {"error_code": code, "message": message or code}
            self.answer(status, json.dumps(told).encode())

        def do_POST(self) -> None:
            given, path = json.loads(self.body()), self.path.removeprefix("/api/2.0/mlflow/")
            if self.headers["Authorization"] != authorization:
                return self.answer(401, b"You are not authenticated.\nPlease see ...")
            name = given["name"]
            if path == "registered-models/create":
                if set("/:") & set(name):
                    message = f"Invalid model name '{name}'. Names cannot contain '/' or ':'."
                    return self.refuse(400, "INVALID_PARAMETER_VALUE", message)
                if name in models:
                    return self.refuse(400, "RESOURCE_ALREADY_EXISTS")
                models[name] = {"versions": [], "aliases": {}}
                return self.answer(200, json.dumps({"registered_model": {"name": name}}).encode())
            if name not in models:
                return self.refuse(404, "RESOURCE_DOES_NOT_EXIST")
            if path == "model-versions/create":
                if not given["source"].startswith(("s3://", "gs://")):
                    message = f"Invalid model version source: '{given['source']}'."
                    return self.refuse(400, "INVALID_PARAMETER_VALUE", message)
                models[name]["versions"].append(given)
                made = {"name": name, "version": str(len(models[name]["versions"]))}
                return self.answer(200, json.dumps({"model_version": made}).encode())
            if path == "registered-models/alias":
                models[name]["aliases"][given["alias"]] = given["version"]
                return self.answer(200, b"{}")
            return self.refuse(404, "ENDPOINT_NOT_FOUND")

    return MLflow


def registry(
    blobs: dict[str, bytes],
    tags: dict[str, dict],
    *,
    password: str | None = None,
    elsewhere: str = "",
) -> type[Handler]:
    """The OCI Distribution Specification 1.1, section "Push", for a repository "models/mnist".

    With a password only who has a token may push, as at Docker's own registry; it is the server of
    tokens too, and gives one to whoever sends the password. Who asks for a blob that it has is sent
    to the address `elsewhere`, if there is one.
    """
    uploads: set[str] = set()

    class Registry(Handler):
        prefix = "/v2/models/mnist/"

        def refuses(self) -> bool:
            sent = self.headers["Authorization"]
            if password is None or sent == "Bearer models/mnist:pull,push":
                return False
            wanted = f'Bearer realm="http://{self.headers["Host"]}/token",service="a registry"'
            denied = b'{"errors":[{"code":"UNAUTHORIZED"}]}'
            self.answer(401, denied, **{"WWW-Authenticate": wanted})
            return True

        def do_GET(self) -> None:
            asked = urllib.parse.urlsplit(self.path)
            if asked.path == "/v2/":
                return None if self.refuses() else self.answer(200)
            query = dict(urllib.parse.parse_qsl(asked.query))
            assert (asked.path, query["service"]) == ("/token", "a registry")
            if self.headers["Authorization"] != password:
                return self.answer(401, b"wrong\npassword")
            token = query["scope"].removeprefix("repository:")
            return self.answer(200, json.dumps({"token": token}).encode())

        def do_HEAD(self) -> None:
            digest = self.path.removeprefix(f"{self.prefix}blobs/")
            if self.refuses():
                return None
            if digest in blobs and elsewhere:
                return self.answer(307, Location=elsewhere)
            return self.answer(200 if digest in blobs else 404)

        def do_POST(self) -> None:
            if self.refuses():
                return None
            if self.path != f"{self.prefix}blobs/uploads/":
                return self.answer(404, b"404 page not found")
            place = f"{self.prefix}blobs/uploads/{uuid.uuid4()}?state=1"
            uploads.add(place)
            return self.answer(202, Location=place)  # relative, as the specification allows

        def do_PUT(self) -> None:
            content = self.body()
            if self.refuses():
                return None
            if self.path.startswith(f"{self.prefix}manifests/"):
                return self._manifest(content)
            place, _, digest = self.path.rpartition("&digest=")
            actual = f"sha256:{hashlib.sha256(content).hexdigest()}"
            if place not in uploads or urllib.parse.unquote(digest) != actual:
                return self.answer(400)
            blobs[actual] = content
            return self.answer(201, Location=f"{self.prefix}blobs/{actual}")

        def _manifest(self, content: bytes) -> None:
            manifest = json.loads(content)
            named = [manifest["config"], *manifest["layers"]]
            sizes = {one["digest"]: one["size"] for one in named}
            if any(len(blobs.get(digest, b"")) != size for digest, size in sizes.items()):
                return self.answer(404)
            if self.headers["Content-Type"] != manifest["mediaType"]:
                return self.answer(400)
            tags[self.path.rpartition("/")[2]] = manifest
            return self.answer(201)

    return Registry
