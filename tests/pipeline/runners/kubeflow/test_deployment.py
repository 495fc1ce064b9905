"""Images, volume claims and secrets, as the command line names them."""

import pytest

from pipeline.config import ConfigError
from pipeline.runners.kubeflow.deployment import Deployment, Mount, SecretVariable


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("pvc://models/mnist", Mount("/mnt/models/mnist", "models")),
        ("pvc://models", Mount("/mnt/models", "models")),
        ("pvc://models/a/b/", Mount("/mnt/models/a/b", "models")),
        ("/mnt/nfs/models", Mount("/mnt/nfs/models")),
    ],
)
def test_a_claim_is_mounted_and_a_path_is_taken_as_it_is(text: str, mount: Mount) -> None:
    assert Mount.parse(text) == mount


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pvc://Models/mnist", "names no directory of a volume claim"),
        ("pvc://", "names no directory of a volume claim"),
        ("pvc://team.models/mnist", "a volume of a pod is named after the claim"),
        (f"pvc://{'m' * 64}", "a volume of a pod is named after the claim"),
        ("pvc://models/../other", "names no directory of a volume claim"),
        ("s3://bucket/models", "a release is one rename, which an object store does not have"),
        ("models", "expected pvc://CLAIM/DIRECTORY or an absolute path"),
        ("/models/../other", "is no directory in a container, expected pvc://CLAIM/DIRECTORY"),
    ],
)
def test_what_is_no_place_in_a_container_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Mount.parse(text)


def test_a_secrets_key_becomes_a_variable() -> None:
    assert SecretVariable.parse("proxy:url=HTTPS_PROXY") == SecretVariable(
        "proxy", "url", "HTTPS_PROXY"
    )


@pytest.mark.parametrize(
    "text",
    [
        *("proxy", "proxy:url", "proxy:=X", ":url=X", "proxy:url=1X"),
        *("My Secret:url=X", "proxy:b c=X", "proxy:url=Ä", "proxy:url=X Y"),
    ],
)
def test_what_names_no_secret_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"names no variable from a secret"):
        SecretVariable.parse(text)


@pytest.mark.parametrize(
    "image",
    [
        *("i", "i:1", "tfx-mnist:0.1.0", "localhost/tfx-mnist:0.1.0", "a/b_c/d--e:v_1.2-x"),
        *("localhost:5000/i", "Registry.Example:443/team/i:T", "127.0.0.1:5000/i"),
        f"registry.example/tfx-mnist@sha256:{'0' * 64}",
        f"registry.example/tfx-mnist:1@sha256:{'0' * 64}",
    ],
)
def test_an_image_is_a_reference_that_a_node_can_pull(image: str) -> None:
    assert Deployment(image, "s3://bucket", Mount("/models")).image == image


@pytest.mark.parametrize(
    "image",
    [
        *("", "Bad Image", "team/I", "i:", "i:-1", "/i", "a//b", "i@sha256:0", "i ", "docker://i"),
        *("i:1:2", "registry.example:port/i"),
    ],
)
def test_what_is_no_image_is_refused(image: str) -> None:
    with pytest.raises(ConfigError, match="expected one as a node pulls it, such as registry"):
        Deployment(image, "s3://bucket", Mount("/models"))
