"""The graph as TFX compiles it for Kubeflow."""

import pytest

from pipeline.runners.kubeflow import topology
from pipeline.runners.kubeflow.topology import Node


def _node(name: str, *upstream: str) -> Node:
    return Node(name, "", {}, {}, {}, upstream, (), {})


def test_ancestors_are_all_that_a_node_needs_and_itself() -> None:
    graph = [_node("a"), _node("b", "a"), _node("c"), _node("d", "b")]
    assert topology.ancestors(graph, "d") == {"a", "b", "d"}
    assert topology.ancestors(graph, "c") == {"c"}


def test_titles_lead_to_the_artifacts_classes() -> None:
    assert topology.class_paths({"model": "tfx.Model"}) == {
        "model": "tfx.types.standard_artifacts.Model"
    }


def test_backend_runs_no_resolver_so_one_is_refused() -> None:
    spec = {
        "root": {"dag": {"tasks": {"latest": {}}}},
        "components": {"latest": {"executorLabel": "latest_executor"}},
        "deploymentSpec": {"executors": {"latest_executor": {"resolver": {}}}},
    }
    with pytest.raises(ValueError, match="latest is a resolver, expected a component that runs"):
        topology._node(spec, "latest")
