"""The model card: Markdown with the front matter that Hugging Face's model hub reads.

The keys are those of https://github.com/huggingface/hub-docs/blob/main/modelcard.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from components.gate.check import Check
from components.model_card.subject import Subject
from trainer.host.text import printable

_UNSTATED = "not stated"
_MARKUP = re.compile(r"[\\`*_\[\]|<&~$]")


def markdown(subject: Subject) -> str:
    """Returns the card, which is named README.md on the hub."""
    front = yaml.safe_dump(_front_matter(subject), sort_keys=False)
    return f"---\n{front}---\n\n" + "\n".join(_body(subject)) + "\n"


def _front_matter(subject: Subject) -> dict[str, Any]:
    accuracy, *_ = subject.accuracies()
    dataset = {"type": subject.name, "name": subject.name, "split": "test"}
    if digest := subject.dataset.get("fingerprint"):
        dataset["revision"] = digest
    metrics = [
        {
            "type": "accuracy",
            "name": "Accuracy",
            "value": accuracy.value,
            "args": {"confidence": 0.95, "lower": accuracy.low, "upper": accuracy.high},
        },
        {
            "type": "top_2_accuracy",
            "name": "Top-2 accuracy",
            "value": subject.evidence.top_2_accuracy,
        },
        {"type": "cross_entropy", "name": "Cross-entropy", "value": subject.evidence.cross_entropy},
    ]
    task = {"type": "image-classification", "name": "Image classification"}
    result = {"task": task, "dataset": dataset, "metrics": metrics}
    named = f"{subject.name}-{subject.model_digest[:8]}"
    # The hub's identifiers are in lower case, and it refuses others: huggingface_hub#4218.
    license_ = subject.stated("license").lower()
    return {
        **({"license": license_} if license_ else {}),
        "library_name": "keras",
        "pipeline_tag": "image-classification",
        "tags": ["tensorflow", "tfx", "savedmodel"],
        "datasets": [subject.name],
        "metrics": ["accuracy"],
        "model-index": [{"name": named, "results": [result]}],
    }


def _body(subject: Subject) -> Iterator[str]:
    record = subject.record
    yield f"# {_plain(subject.name)}: an image classifier"
    yield from _section("Use")
    yield from _items(
        ("Intended use", subject.stated("intended_use") or _UNSTATED),
        ("Owner", subject.stated("owner") or _UNSTATED),
        ("License", subject.stated("license") or _UNSTATED),
        ("Limits", "the accuracy below holds for images like those of the test split, no others"),
    )
    yield from _section("Data")
    yield from _data(subject)
    yield from _section("Training")
    given = {key: value for key, value in subject.training.items() if value not in ("", {})}
    settings = ", ".join(f"{key} {value}" for key, value in given.items())
    yield from _items(
        ("Preset", record.get("preset")),
        ("Seed", record.get("seed")),
        ("Hyper-parameters", settings),
    )
    yield from _section("Evaluation on the test split")
    yield from _evaluation(subject)
    yield from _section("Checks before the release")
    if overrides := record.get("overrides"):
        weaker = f"{', '.join(overrides['keys'])}; reason: {overrides['reason']}"
        yield from _items(("Weaker than the data set's own policy", weaker))
    for check in record.get("checks") or ():
        yield f"- {Check.from_dict(check).result}: {_plain(check['sentence'])}"
    yield from _section("Origin")
    baseline = record.get("baseline")
    yield from _items(
        ("Run", record.get("run_id")),
        ("Model digest", subject.model_digest),
        ("Compared with", f"version {baseline['version']}" if baseline else "no version"),
    )


def _data(subject: Subject) -> Iterator[str]:
    dataset = subject.dataset
    shape = " × ".join(map(str, dataset.get("image_shape") or ()))
    splits = dataset.get("splits") or {}
    yield from _items(
        ("Data set", subject.name),
        ("Digest of the source", dataset.get("fingerprint")),
        ("Images", f"{shape} (height, width, channels), 8 bits" if shape else None),
        ("Classes", ", ".join(dataset.get("class_names") or ())),
        ("Splits", ", ".join(f"{name} {split['rows']:,}" for name, split in splits.items())),
    )


def _evaluation(subject: Subject) -> Iterator[str]:
    yield "| images | number | accuracy | 95 % interval |"
    yield "| --- | --- | --- | --- |"
    for one in subject.accuracies():
        cells = [one.group or "all", f"{one.rows:,}", f"{one.value:.4f}"]
        yield _row([*cells, f"{one.low:.4f} to {one.high:.4f}"])
    yield ""
    yield from _items(
        ("Top-2 accuracy", f"{subject.evidence.top_2_accuracy:.4f}"),
        ("Cross-entropy", f"{subject.evidence.cross_entropy:.4f} nats"),
    )


def _section(title: str) -> Sequence[str]:
    return "", f"## {title}", ""


def _items(*items: tuple[str, Any]) -> Iterator[str]:
    yield from (f"- {name}: {_plain(value)}" for name, value in items if value not in (None, ""))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_plain(cell) for cell in cells)} |"


def _plain(value: Any) -> str:
    """Returns text of others in one line that Markdown shows as it is."""
    return _MARKUP.sub(r"\\\g<0>", printable(" ".join(str(value).split())))
