"""The bill of materials: CycloneDX 1.6, with a model card (https://cyclonedx.org/capabilities/mlbom).

Written by hand, since no library for Python knows CycloneDX's model cards (November 2026); a test
holds it to the official schema.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import uuid
from collections.abc import Mapping
from typing import Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.utils import canonicalize_name

from components.model_card.subject import Accuracy, Subject

_NAMESPACE = uuid.UUID("2f1a7f0e-3f3c-5d8e-9f57-0f4d5f6d1c11")  # of our serial numbers


def bill_of_materials(subject: Subject) -> str:
    """Returns the document; its libraries are those of this process's environment."""
    libraries = [_library(name, version) for name, version in sorted(_installed().items())]
    model = _model(subject)
    depends = {"ref": model["bom-ref"], "dependsOn": [one["bom-ref"] for one in libraries]}
    content = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": model},
        "components": libraries,
        "dependencies": [depends],
    }
    content["serialNumber"] = uuid.uuid5(_NAMESPACE, json.dumps(content)).urn
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _installed() -> dict[str, str]:
    # Each look at a distribution's metadata parses all of it.
    found = [one.metadata for one in importlib.metadata.distributions()]
    # Of two with one name Python imports the first; what is left of a removed one has none.
    named = (one for one in reversed(found) if "Name" in one and "Version" in one)
    first = {canonicalize_name(one["Name"]): one for one in named}
    return {one["Name"]: one["Version"] for one in first.values()}


def _library(name: str, version: str) -> dict[str, str]:
    purl = f"pkg:pypi/{name.lower().replace('_', '-')}@{version.replace('+', '%2B')}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _model(subject: Subject) -> dict[str, Any]:
    owner, license_ = subject.stated("owner"), subject.stated("license")
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{subject.model_digest}",
        **({"supplier": {"name": owner}} if owner else {}),
        "name": subject.name,
        "version": subject.model_digest,
        **({"licenses": [_license(license_)]} if license_ else {}),
        "modelCard": _card(subject),
        "properties": _properties({"run": subject.record.get("run_id")}),
    }


def _license(stated: str) -> dict[str, Any]:
    try:
        known = canonicalize_license_expression(stated)
    except InvalidLicenseExpression:
        return {"license": {"name": stated}}
    is_id = re.fullmatch(r"(?!LicenseRef-)[\w.-]+", known)  # not of several, nor with a "+"
    return {"license": {"id": known}} if is_id else {"expression": known}


def _card(subject: Subject) -> dict[str, Any]:
    use = subject.stated("intended_use")
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": "image classification",
            "architectureFamily": "neural network",
            "modelArchitecture": str(subject.training.get("architecture") or "not stated"),
            "datasets": [_dataset(subject)],
            "inputs": [{"format": one} for one in _formats(subject)],
            "outputs": [{"format": "probabilities, float32, one per class"}],
        },
        "quantitativeAnalysis": {"performanceMetrics": _metrics(subject)},
        **({"considerations": {"useCases": [use]}} if use else {}),
        "properties": _properties(subject.training),
    }


def _formats(subject: Subject) -> tuple[str, ...]:
    """The formats in which examples are stored, see docs/data.md."""
    return ("PNG", "JPEG", "BMP", "GIF") if subject.dataset.get("resize") else ("PNG",)


def _dataset(subject: Subject) -> dict[str, Any]:
    dataset = subject.dataset
    facts = {"fingerprint": dataset.get("fingerprint")}
    for name, split in (dataset.get("splits") or {}).items():
        facts |= {f"{name}.rows": split["rows"], f"{name}.digest": split["digest"]}
    return {"type": "dataset", "name": subject.name, "contents": {"properties": _properties(facts)}}


def _metrics(subject: Subject) -> list[dict[str, Any]]:
    evidence = subject.evidence
    plain = {"top_2_accuracy": evidence.top_2_accuracy, "cross_entropy": evidence.cross_entropy}
    return [
        *map(_accuracy, subject.accuracies()),
        *({"type": name, "value": str(value)} for name, value in plain.items()),
    ]


def _accuracy(one: Accuracy) -> dict[str, Any]:
    return {
        "type": "accuracy",
        "value": str(one.value),
        **({"slice": one.group} if one.group else {}),
        "confidenceInterval": {"lowerBound": str(one.low), "upperBound": str(one.high)},
    }


def _properties(values: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {"name": f"tfx-mnist:{name}", "value": str(value)}
        for name, value in values.items()
        if value is not None
    ]
