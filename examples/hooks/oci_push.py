"""Pushes the files of each release to an OCI registry, from which `oras pull` fetches them again.

    hooks.released: [python3, examples/hooks/oci_push.py]

OCI_REPOSITORY is the place, such as "https://registry.example/models/mnist"; the tag is the number
of the version. OCI_AUTHORIZATION, if it is set, is sent as the Authorization header.
"""

import hashlib
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
FILE = "application/octet-stream"
MODEL = "application/vnd.tensorflow.saved-model"
TITLE = "org.opencontainers.image.title"  # the path of a file, as oras reads it


def call(method: str, url: str, body: bytes | None = None, kind: str = FILE):
    headers = {"Content-Type": kind}
    if authorization := os.environ.get("OCI_AUTHORIZATION"):
        headers["Authorization"] = authorization
    request = urllib.request.Request(url, body, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.headers


def push_blob(api: str, content: bytes, kind: str, **about) -> dict:
    """Uploads a blob that is not there yet, and returns its descriptor."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    try:
        call("HEAD", f"{api}/blobs/{digest}")
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        start = f"{api}/blobs/uploads/"
        place = urllib.parse.urljoin(start, call("POST", start, b"")["Location"])
        call("PUT", f"{place}{'&' if '?' in place else '?'}digest={digest}", content)
    return {"mediaType": kind, "digest": digest, "size": len(content), **about}


def main() -> None:
    release = json.load(sys.stdin)["release"]
    root, tag = Path(release["path"]), str(release["version"])
    repository = urllib.parse.urlsplit(os.environ["OCI_REPOSITORY"])
    api = f"{repository.scheme}://{repository.netloc}/v2{repository.path}"
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": MODEL,
        "config": push_blob(api, b"{}", EMPTY),
        "layers": [
            push_blob(
                api,
                path.read_bytes(),
                FILE,
                annotations={TITLE: path.relative_to(root).as_posix()},
            )
            for path in files
        ],
    }
    call("PUT", f"{api}/manifests/{tag}", json.dumps(manifest).encode(), MANIFEST)
    print(f"pushed {len(files)} files as {os.environ['OCI_REPOSITORY']}:{tag}")


if __name__ == "__main__":
    main()
