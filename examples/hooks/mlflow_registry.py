"""Makes each release a version of an MLflow registered model, by MLflow's REST API alone.

    hooks.released: [python3, examples/hooks/mlflow_registry.py]

MLFLOW_TRACKING_URI is the server's address; MLFLOW_TRACKING_USERNAME and _PASSWORD, or _TOKEN, are
sent to it if they are set. MODEL_SOURCE is where MLflow's clients find the files of a version, such
as "s3://models/mnist/{version}": the server refuses paths, and its own store, which it keeps for
the runs that it tracks. The alias "served" moves along.
"""

import base64
import http.client
import json
import os
import re
import sys
import urllib.error
import urllib.request

ALIAS = "served"


def authorization() -> dict[str, str]:
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN", "").strip():
        return {"Authorization": f"Bearer {token}"}
    user = os.environ.get("MLFLOW_TRACKING_USERNAME")
    if not user:
        return {}
    pair = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def post(path: str, body: dict, *, unless: str = "refused") -> dict:
    """Returns the answer, or {} for the error code `unless`; ends with what the server refuses."""
    url = f"{os.environ['MLFLOW_TRACKING_URI'].rstrip('/')}/api/2.0/mlflow/{path}"
    headers = {"Content-Type": "application/json", **authorization()}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            told = answer.read().decode(errors="replace")
            return json.loads(told)
    except json.JSONDecodeError:
        sys.exit(f"{url} answered no JSON, expected MLflow's: {' '.join(told.split())[:1000]}")
    except urllib.error.HTTPError as error:
        told = error.read().decode(errors="replace")
        if f'"{unless}"' in told:
            return {}
        sys.exit(f"{url} answered {error.code}: {' '.join(told.split())[:1000]}")
    except OSError as error:
        sys.exit(f"{url} cannot be reached: {getattr(error, 'reason', error)}")
    except http.client.BadStatusLine as error:
        sys.exit(f"{url} answered {error.line.strip()!r}, expected HTTP")


def main() -> None:
    told = json.load(sys.stdin)
    release = told["release"]
    if not re.fullmatch(r"https?://[^@\s]+", os.environ.get("MLFLOW_TRACKING_URI", "")):
        sys.exit(  # without the address: a password may be in it
            "MLFLOW_TRACKING_URI is not the address of a server, expected https://HOST, and the "
            "user in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD alone"
        )
    source = os.environ.get("MODEL_SOURCE", "").replace("{version}", str(release["version"]))
    if not source:
        sys.exit("MODEL_SOURCE is not set, expected a place such as s3://models/mnist/{version}")
    name = told["dataset"]["name"].replace("/", "_")  # emnist/balanced: MLflow takes no slash
    post("registered-models/create", {"name": name}, unless="RESOURCE_ALREADY_EXISTS")
    tags = {
        "tfx_mnist.run": told["run_id"],
        "tfx_mnist.version": str(release["version"]),
        "tfx_mnist.accuracy": f"{told['metrics']['accuracy']:.6f}",
    }
    made = post(
        "model-versions/create",
        {
            "name": name,
            "source": source,
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
        },
    )["model_version"]["version"]
    post("registered-models/alias", {"name": name, "alias": ALIAS, "version": made})
    print(f"{name} {made} is registered, and is @{ALIAS}")


if __name__ == "__main__":
    main()
