"""What a deployment may say."""

import pytest

from pipeline.config import ConfigError
from pipeline.runners.kubeflow.spec import Deployment


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
    assert Deployment(image, "s3://bucket").image == image


@pytest.mark.parametrize(
    "image",
    [
        *("", "Bad Image", "team/I", "i:", "i:-1", "/i", "a//b", "i@sha256:0", "i ", "docker://i"),
        *("i:1:2", "registry.example:port/i"),
    ],
)
def test_what_is_none_is_refused(image: str) -> None:
    with pytest.raises(ConfigError, match="expected one as a node pulls it, such as registry"):
        Deployment(image, "s3://bucket")
