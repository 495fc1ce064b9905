"""Pushes the files of each release to an OCI registry, from which `oras pull` fetches them again.

    hooks.released: [python3, examples/hooks/oci_push.py]

OCI_REPOSITORY is the place, such as "https://registry.example/models/mnist"; the tag is the number
of the version. OCI_AUTHORIZATION, if it is set, is sent as the Authorization header: to the server
of tokens that the registry names, or else to the registry.
"""

import hashlib
import http.client
import json
import os
import re
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

PLACE = r"https?://[^/@\s]+(/[a-z0-9._-]+)+/?"

ELSEWHERE = (302, 303, 307, 308)  # of a registry that keeps its blobs in S3, for one that it has

GIVEN = os.environ.get("OCI_AUTHORIZATION", "").strip()
SENT = {"Authorization": GIVEN} if GIVEN else {}


class Stays(urllib.request.HTTPRedirectHandler):
    """Follows no redirect, which would take the authorization to another server."""

    def redirect_request(self, *args):
        return None


OPENER = urllib.request.build_opener(Stays)


def call(method: str, url: str, body: bytes | None = None, kind: str = FILE, *, fine=()):
    """Returns the answer, also one of a status in `fine`; ends with what the server refuses."""
    headers = {"Content-Type": kind, **SENT}
    request = urllib.request.Request(url, body, headers, method=method)
    try:
        return OPENER.open(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code in fine:
            return error
        told = " ".join(error.read().decode(errors="replace").split())
        remedy = "; see to OCI_AUTHORIZATION" if error.code in (401, 403) else ""
        sys.exit(f"{method} {url} answered {error.code}: {told[:1000] or error.reason}{remedy}")
    except OSError as error:
        sys.exit(f"{url} cannot be reached: {getattr(error, 'reason', error)}")
    except http.client.BadStatusLine as error:
        sys.exit(f"{url} answered {error.line.strip()!r}, expected HTTP")


def log_in(root: str, name: str) -> None:
    """Gets a token for a repository, if the registry wants one, as the registry of Docker does."""
    wanted = call("GET", root, fine=(401,)).headers["WWW-Authenticate"] or ""
    about = dict(re.findall(r'(\w+)="([^"]*)"', wanted))
    if not wanted.lower().startswith("bearer ") or GIVEN.lower().startswith("bearer "):
        return
    if "realm" not in about:
        sys.exit(
            f"{root} wants a token and names no server that gives one, expected a realm in "
            "WWW-Authenticate"
        )
    query = {"service": about.get("service", ""), "scope": f"repository:{name}:pull,push"}
    url = f"{about['realm']}?{urllib.parse.urlencode(query)}"
    try:
        told = json.load(call("GET", url))
        SENT["Authorization"] = f"Bearer {told.get('token') or told['access_token']}"
    except (ValueError, AttributeError, KeyError):
        sys.exit(f"{url} answered no token, expected a JSON object that holds one")


def push_blob(api: str, content: bytes, kind: str, **about) -> dict:
    """Uploads a blob that is not there yet, and returns its descriptor."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if call("HEAD", f"{api}/blobs/{digest}", fine=(404, *ELSEWHERE)).status == 404:
        start = f"{api}/blobs/uploads/"
        place = urllib.parse.urljoin(start, call("POST", start, b"").headers["Location"])
        call("PUT", f"{place}{'&' if '?' in place else '?'}digest={digest}", content)
    return {"mediaType": kind, "digest": digest, "size": len(content), **about}


def main() -> None:
    release = json.load(sys.stdin)["release"]
    root, tag = Path(release["path"]), str(release["version"])
    place = os.environ.get("OCI_REPOSITORY", "")
    if not re.fullmatch(PLACE, place):  # which is not shown: a password may be in it
        sys.exit(
            "OCI_REPOSITORY is not the address of a repository, expected https://HOST/NAME, the "
            "name in small letters and without a tag, and the user in OCI_AUTHORIZATION alone"
        )
    repository = urllib.parse.urlsplit(place.rstrip("/"))
    registry = f"{repository.scheme}://{repository.netloc}/v2/"
    log_in(registry, repository.path[1:])
    api = registry + repository.path[1:]
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
    print(f"pushed {len(files)} files as {place}:{tag}")


if __name__ == "__main__":
    main()
