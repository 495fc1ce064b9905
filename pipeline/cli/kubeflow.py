"""`tfx-mnist kubeflow`: the commands for Kubeflow Pipelines."""

from __future__ import annotations

from pipeline.cli import kubeflow_api, kubeflow_compile, kubeflow_local
from pipeline.cli.command import Group

GROUP = Group(
    name="kubeflow",
    help="compile for Kubeflow Pipelines, run there, and run its containers on this machine",
    members=(kubeflow_compile.COMMAND, kubeflow_local.COMMAND, *kubeflow_api.COMMANDS),
)
