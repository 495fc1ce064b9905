"""The documents of a released version: a model card for people, and a bill of materials.

Synopsis::

    subject = Subject(record, evidence, model_digest)
    publish(model, serving, record, documents=documents(subject))

Both are made of the release record and the counts alone, so equal releases have equal documents.
"""

from __future__ import annotations

from components.model_card.bill_of_materials import bill_of_materials
from components.model_card.markdown import markdown
from components.model_card.subject import Subject

CARD_NAME = "MODEL_CARD.md"
BOM_NAME = "bom.cdx.json"  # the name by which CycloneDX's tools find it


def documents(subject: Subject) -> dict[str, str]:
    """Returns the texts by file name."""
    return {CARD_NAME: markdown(subject), BOM_NAME: bill_of_materials(subject)}
