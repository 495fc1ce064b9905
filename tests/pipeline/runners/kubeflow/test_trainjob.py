"""The TrainJob in docs/distributed.md, by Kubeflow Trainer's published definitions."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubeflow_trainer_api import models

from pipeline.cli.configuration import Given
from pipeline.result import ExitCode
from tests.pipeline.cli.parsing import parsed
from trainer.cluster import Cluster

DOC = Path(__file__).parents[4] / "docs" / "distributed.md"
KINDS = {
    "TrainingRuntime": models.TrainerV1alpha1TrainingRuntime,
    "TrainJob": models.TrainerV1alpha1TrainJob,
}


@pytest.fixture(scope="module")
def manifests() -> dict[str, Any]:
    texts = re.findall(r"```yaml\n(.*?)```", DOC.read_text(), flags=re.DOTALL)
    every = (manifest for text in texts for manifest in yaml.safe_load_all(text))
    return {manifest["kind"]: manifest for manifest in every if manifest["kind"] in KINDS}


@pytest.fixture(scope="module")
def machines(manifests: dict[str, Any]) -> int:
    return int(manifests["TrainingRuntime"]["spec"]["mlPolicy"]["numNodes"])


@pytest.fixture(scope="module")
def job(manifests: dict[str, Any]) -> dict[str, Any]:
    (found,) = manifests["TrainingRuntime"]["spec"]["template"]["spec"]["replicatedJobs"]
    return dict(found)


@pytest.fixture(scope="module")
def container(job: dict[str, Any]) -> dict[str, Any]:
    (found,) = job["template"]["spec"]["template"]["spec"]["containers"]
    # By these names Trainer finds what it starts, and kubernetes-sigs/jobset makes the pods' names.
    assert (job["name"], found["name"]) == ("node", "node")
    labels = job["template"]["metadata"]["labels"]
    assert labels["trainer.kubeflow.org/trainjob-ancestor-step"] == "trainer"
    return dict(found)


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_one_that_trainer_and_kubernetes_know(manifests, kind):
    assert KINDS[kind].from_dict(manifests[kind]).to_dict() == manifests[kind]


def test_the_job_names_its_runtime(manifests):
    reference = manifests["TrainJob"]["spec"]["runtimeRef"]
    runtime = manifests["TrainingRuntime"]
    group = runtime["apiVersion"].partition("/")[0]
    assert reference == {
        "apiGroup": group,
        "kind": runtime["kind"],
        "name": runtime["metadata"]["name"],
    }


def test_each_pod_finds_itself_among_the_machines_that_train_together(
    manifests, container, machines
):
    first, second = container["env"]
    assert first["valueFrom"]["fieldRef"]["fieldPath"] == (
        "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    )
    name = manifests["TrainJob"]["metadata"]["name"]
    for index in range(machines):
        # Kubernetes puts the value of an earlier variable in the place of $(NAME).
        text = second["value"].replace(f"$({first['name']})", str(index))
        cluster = Cluster.from_environment({second["name"]: text})
        assert cluster is not None
        assert cluster.index == index
        assert cluster.addresses == tuple(
            f"{name}-node-0-{place}.{name}:2222" for place in range(machines)
        )


def test_the_first_pod_runs_the_pipeline_and_the_others_train_with_it(
    container, machines, tmp_path
):
    program = tmp_path / "tfx-mnist"
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    roots = []
    for index in range(machines):
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "MACHINE": str(index)}
        done = subprocess.run(
            container["command"], env=environment, capture_output=True, text=True, check=True
        )
        words = done.stdout.split()
        assert words[0] == ("worker" if index else "run")
        given = parsed(*words)
        roots.append(
            str(given.params["pipeline_root"])
            if index
            else dict(given.ensure_object(Given).overrides)["pipeline_root"]
        )
    assert len(set(roots)) == 1


def test_the_first_pods_end_is_the_end_of_the_job(job):
    # If the training is in the cache, no training begins, and the others would wait for an hour.
    spec = job["template"]["spec"]
    assert spec["completionMode"] == "Indexed"  # Kubernetes asks for it
    assert spec["successPolicy"] == {"rules": [{"succeededIndexes": "0"}]}


def test_a_refusal_is_not_tried_again(job):
    spec = job["template"]["spec"]
    (rule,) = (rule for rule in spec["podFailurePolicy"]["rules"] if rule["action"] == "FailJob")
    assert rule["onExitCodes"] == {"operator": "In", "values": [ExitCode.USAGE, ExitCode.REFUSED]}
    assert spec["template"]["spec"]["restartPolicy"] == "Never"  # Kubernetes asks for it
