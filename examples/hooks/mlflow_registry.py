"""Makes each release a version of an MLflow registered model, by MLflow's REST API alone.

    hooks.released: [python3, examples/hooks/mlflow_registry.py]

MLFLOW_TRACKING_URI is the server's address, and MODEL_SOURCE where it finds the files of a version,
such as "s3://models/mnist/{version}": MLflow refuses plain paths. The alias "served" moves along.
"""

import json
import os
import sys
import urllib.error
import urllib.request

ALIAS = "served"


def post(path: str, body: dict) -> dict:
    url = f"{os.environ['MLFLOW_TRACKING_URI'].rstrip('/')}/api/2.0/mlflow/{path}"
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def create_model(name: str) -> None:
    try:
        post("registered-models/create", {"name": name})
    except urllib.error.HTTPError as error:
        if json.load(error).get("error_code") != "RESOURCE_ALREADY_EXISTS":
            raise


def main() -> None:
    told = json.load(sys.stdin)
    name, release = told["dataset"]["name"], told["release"]
    create_model(name)
    tags = {
        "tfx_mnist.run": told["run_id"],
        "tfx_mnist.version": str(release["version"]),
        "tfx_mnist.accuracy": f"{told['metrics']['accuracy']:.6f}",
    }
    made = post(
        "model-versions/create",
        {
            "name": name,
            "source": os.environ["MODEL_SOURCE"].format(version=release["version"]),
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
        },
    )["model_version"]["version"]
    post("registered-models/alias", {"name": name, "alias": ALIAS, "version": made})
    print(f"{name} {made} is registered, and is @{ALIAS}")


if __name__ == "__main__":
    main()
