"""Documents beside a version's model: covered by its manifest, and no part of the model."""

import hashlib
import json
from pathlib import Path

import pytest

from components.serving_dir import (
    MANIFEST_NAME,
    ServingDirError,
    digest_of,
    export_model,
    live,
    publish,
    rollback,
    versions,
)
from tests.components.serving_dir.samples import letter_model, publish_letters

CARD = {"MODEL_CARD.md": "it reads letters\n"}


@pytest.fixture
def serving(tmp_path: Path) -> Path:
    publish(letter_model(tmp_path, "a"), tmp_path / "serving", {}, documents=CARD)
    return tmp_path / "serving"


def test_the_digest_is_that_of_the_model_alone(serving: Path, tmp_path: Path) -> None:
    model = letter_model(tmp_path, "a")
    assert (serving / "1" / "MODEL_CARD.md").read_text() == CARD["MODEL_CARD.md"]
    assert live(serving).model_digest == digest_of(model)
    assert not publish(model, serving, {}, documents={"MODEL_CARD.md": "other"}).created


@pytest.mark.parametrize(
    ("act", "problem"),
    [
        (lambda file: file.write_text("it reads numbers\n"), "file 'MODEL_CARD.md' has SHA-256"),
        (lambda file: file.unlink(), "file 'MODEL_CARD.md' is missing"),
        (lambda file: file.with_name("more.md").touch(), "file 'more.md' is not in manifest.json"),
    ],
)
def test_an_altered_document_is_damage(act: object, problem: str, serving: Path) -> None:
    act(serving / "1" / "MODEL_CARD.md")
    (version,) = versions(serving, check_files=True)
    (found,) = version.problems
    assert found.startswith(problem)


def test_a_document_cannot_stand_for_a_file_of_the_model(serving: Path) -> None:
    evil = serving / "1" / "saved_model.pb"
    evil.write_bytes(b"another graph")
    manifest = serving / "1" / MANIFEST_NAME
    content = json.loads(manifest.read_text())
    record = {"sha256": hashlib.sha256(evil.read_bytes()).hexdigest(), "bytes": 13}
    content["documents"]["saved_model.pb"] = record
    manifest.write_text(json.dumps(content))
    (version,) = versions(serving, check_files=True)
    assert version.problems == (
        "manifest.json is damaged: it lists 'saved_model.pb' among files and documents",
    )


def test_a_copy_of_the_model_has_none(serving: Path, tmp_path: Path) -> None:
    export_model(live(serving), tmp_path / "copy")
    assert [file.name for file in (tmp_path / "copy").iterdir()] == ["saved_model.pb"]


def test_a_rollback_restores_them(serving: Path) -> None:
    publish_letters(serving, "b")
    assert rollback(serving).restores == 1
    version = versions(serving, check_files=True)[-1]
    assert (version.number, version.problems) == (3, ())
    assert (version.path / "MODEL_CARD.md").read_text() == CARD["MODEL_CARD.md"]


def test_a_model_with_a_file_of_that_name_is_refused(tmp_path: Path) -> None:
    model = letter_model(tmp_path, "a")
    (model / "MODEL_CARD.md").touch()
    with pytest.raises(ServingDirError, match=r"the model holds 'MODEL_CARD.md', a name kept for"):
        publish(model, tmp_path / "serving", {}, documents=CARD)
    assert versions(tmp_path / "serving") == []
