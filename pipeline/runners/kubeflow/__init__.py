"""Kubeflow Pipelines v2, the open-source backend: compiling, its containers, its API.

docs/kubeflow.md is the user's view; docs/decisions/0020 and 0021 hold the reasons.
"""
