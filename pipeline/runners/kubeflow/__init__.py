"""Kubeflow Pipelines v2, the open-source backend: compiling, its containers, its API.

`compiling` makes the YAML by kfp's compiler. `entrypoint` runs in each container, and does one of
the `tasks`. `containers` runs the YAML on one machine, and `client` talks to a cluster.
docs/kubeflow.md is the user's view, docs/decisions/0020 and 0021 hold the reasons.
"""
