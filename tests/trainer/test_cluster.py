"""TF_CONFIG, well-formed and not."""

import json

import pytest

from tests.refusals import refusal_of
from trainer.cluster import Cluster, ClusterError

TWO = ["a:2222", "b:2222"]


def from_variable(monkeypatch, value) -> Cluster | None:
    text = value if isinstance(value, str) else json.dumps(value)
    monkeypatch.setenv("TF_CONFIG", text)
    return Cluster.from_environment()


def test_without_the_variable_a_machine_is_alone(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert Cluster.from_environment() is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        {},
        {"cluster": {}},
        {"cluster": {"worker": ["a:2222"]}, "task": {"type": "worker", "index": 0}},
    ],
)
def test_a_cluster_of_one_or_none_is_a_machine_alone(monkeypatch, value):
    assert from_variable(monkeypatch, value) is None


def test_the_first_worker_is_the_chief_where_none_is_named(monkeypatch):
    for index, chief in ((0, True), (1, False)):
        task = {"type": "worker", "index": index}
        cluster = from_variable(monkeypatch, {"cluster": {"worker": TWO}, "task": task})
        assert cluster == Cluster(("a:2222", "b:2222"), index)
        assert (cluster.size, cluster.is_chief) == (2, chief)


def test_a_chief_of_its_own_comes_first_as_the_training_operator_has_it(monkeypatch):
    machines = {"worker": TWO, "chief": ["c:2222"]}
    # The operator writes the index as a string in some versions.
    for role, index, place in (("worker", "1", 2), ("chief", 0, 0)):
        task = {"type": role, "index": index}
        cluster = from_variable(monkeypatch, {"cluster": machines, "task": task})
        assert cluster == Cluster(("c:2222", "a:2222", "b:2222"), place)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("{", "JSONDecodeError"),
        ("[" * 100_000, "RecursionError"),
        ({"cluster": {"worker": [1, 2]}, "task": {"type": "worker", "index": 0}}, "1 is no addr"),
        (
            {"cluster": {"worker": ["a", "b:1"]}, "task": {"type": "worker", "index": 0}},
            "'a' is no address",
        ),
        ({"cluster": {"worker": ["a:0"]}, "task": {"type": "worker", "index": 0}}, "is no addr"),
        ({"cluster": {"worker": ["a:65536"]}, "task": {"type": "worker", "index": 0}}, "is no a"),
        ({"cluster": {"worker": [":2222"]}, "task": {"type": "worker", "index": 0}}, "is no addr"),
        ({"cluster": {"worker": ["a b:1"]}, "task": {"type": "worker", "index": 0}}, "is no addr"),
        (
            {"cluster": {"worker": TWO, "chief": TWO[:1]}, "task": {"type": "chief", "index": 0}},
            "'a:2222' is named twice",
        ),
        (
            {"cluster": {"worker": "a:2222,b:2222"}, "task": {"type": "worker", "index": 0}},
            "the machines of type worker are no list",
        ),
        ("[]", "AttributeError"),
        ({"cluster": {"worker": TWO}}, "KeyError: 'task'"),
        ({"cluster": {"worker": TWO}, "task": {"type": "ps", "index": 0}}, "KeyError: 'ps'"),
        ({"cluster": {"worker": TWO}, "task": {"type": "worker", "index": 2}}, "the index 2"),
        ({"cluster": {"worker": TWO, "ps": TWO}, "task": {"type": "worker", "index": 0}}, "ps"),
    ],
)
def test_what_cannot_be_read_is_one_line_with_the_remedy(monkeypatch, value, what):
    line = refusal_of(ClusterError, from_variable, monkeypatch, value)
    assert what in line
    assert "unset it to train on this machine alone" in line
