"""Kubeflow Pipelines v2, the open-source backend: compiling, its containers, its API.

`compiling` makes the YAML out of `topology`, `spec` and `cluster`. `entrypoint` is what runs in
each container, with `wire`, `artifacts`, `planning` and `running`. `containers` runs the YAML on
one machine, and `client` talks to a cluster. docs/kubeflow.md is the user's view, docs/decisions/
0020 and 0021 hold the reasons.
"""
