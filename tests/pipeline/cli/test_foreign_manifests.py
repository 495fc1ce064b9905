"""Manifests that somebody else wrote: a damaged version like any other, which stops no command."""

import contextlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.monitoring.counts import summarize
from components.serving_dir import MANIFEST_NAME, publish, versions
from pipeline.cli.main import main
from tests.components.serving_dir.samples import letter_model

pytestmark = pytest.mark.once  # what our code makes of any JSON

REFERENCE = summarize(np.eye(2), intensities=[0.1, 0.2], sizes=["28x28", "28x28"]).to_json()
HOLE = "the place of a value that somebody else wrote"
RELEASE = {
    "run_id": "20261124T120001Z-abcd",
    "run_key": "9f2c",
    "release_token": "token",
    "baseline": {"version": 1, "model_digest": "1c77"},
    "dataset": {
        "name": "mnist",
        "fingerprint": "0" * 64,
        "class_names": ["0", "1"],
        "image_shape": [28, 28, 1],
        "resize": "",
        "splits": {"train": {"rows": 2, "class_counts": [1, 1], "digest": "d"}},
    },
    "metrics": {"accuracy": 1.0},
    "policy": {"floor": 0},  # as a tool may have written 0.0
    "reference": REFERENCE,
    "rollback": {"restores": 1, "withdraws": 1, "withdrawn_digest": None, "reason": ""},
    "approval": {
        **{"run_id": "r", "by": "Ann", "reason": "why"},
        **dict.fromkeys(("held_at", "at"), "2026-11-27T12:00:00+00:00"),
    },
    "overrides": {"keys": ["gate.max_drop"], "reason": "why"},
}
# What no manifest holds anywhere.
ODD = ("NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "1" + "0" * 19, "[" * 99 + "]" * 99)
# Place in the manifest -> values of another kind or range, as JSON.
WRONG: dict[tuple[str, ...], tuple[str, ...]] = {
    ("version",): ("true", '"2"', "2.0", "-2", "null", "[]"),
    ("published_at",): ("3", "20260101", '"noon"', '"\\u001b[2J"'),
    ("model_digest",): ("3", '"1c77"'),
    ("files",): ("[]", '"saved_model.pb"'),
    ("files", "saved_model.pb"): ("3", "{}", "null"),
    ("files", "saved_model.pb", "bytes"): ("-1", '"1"', "true"),
    ("files", "saved_model.pb", "sha256"): ("1", '"no digest"'),
    # The model's digest does not cover them.
    ("documents",): ("[]", '"model_card.md"'),
    ("documents", "model_card.md"): ("3", "{}", "null"),
    ("documents", "model_card.md", "bytes"): ("-1", '"1"', "true"),
    ("documents", "model_card.md", "sha256"): ("1", '"no digest"'),
    ("release",): ("null", "[]", '"release"'),
    ("release", "run_id"): ("3", "{}"),
    ("release", "run_key"): ("3",),
    ("release", "release_token"): ("[]",),
    ("release", "baseline"): ("{}", '{"version": 1}', '{"model_digest": "1c77"}', "1"),
    ("release", "baseline", "version"): ("true", "null", "1.5", "-1"),
    ("release", "baseline", "model_digest"): ("3", "null", '""'),
    ("release", "dataset"): ("[]", '"mnist"'),
    ("release", "dataset", "name"): ("3", "[]"),
    ("release", "dataset", "fingerprint"): ("3", "{}"),
    ("release", "dataset", "class_names"): ("3", '["0", 1]', '"01"'),
    ("release", "dataset", "image_shape"): ("[28, 28]", "[28, 28, -1]", '"28"'),
    ("release", "dataset", "resize"): ("3", "[]"),
    ("release", "dataset", "splits"): ("[]", '{"train": 3}', '{"train": {"rows": 2}}'),
    ("release", "dataset", "splits", "test"): ("3", "null"),
    ("release", "dataset", "splits", "train", "rows"): ("-1", "null"),
    ("release", "dataset", "splits", "train", "class_counts"): ("[1, -1]", "3"),
    ("release", "dataset", "splits", "train", "digest"): ("3",),
    ("release", "metrics"): ("[0.99]", "0.99"),
    ("release", "metrics", "accuracy"): ('"0.99"', "true", "-0.1", "1e308", "{}"),
    ("release", "policy"): ("[1]", '"0.9"'),
    ("release", "policy", "floor"): ('"x"', "true", "1.5", "{}"),
    ("release", "rollback"): ("3", "{}"),
    ("release", "rollback", "withdraws"): ("2", '"1"', "true", "-1"),
    ("release", "rollback", "restores"): ("3", "true", "-1"),
    ("release", "rollback", "withdrawn_digest"): ("3",),
    ("release", "rollback", "reason"): ("null",),
    ("release", "approval"): ("3", "{}", "[]"),
    ("release", "approval", "at"): ("3", '"noon"'),
    ("release", "approval", "run_id"): ("3", "null"),
    ("release", "approval", "held_at"): ("3",),
    ("release", "approval", "by"): ("3", "null"),
    ("release", "approval", "reason"): ("null",),
    ("release", "overrides"): ("[]", "{}"),
    ("release", "overrides", "keys"): ("3", "[1]"),
    ("release", "overrides", "reason"): ("null",),
}
CASES = [
    pytest.param(place, value, id=f"{'.'.join(place)}={value[:20]}")
    for place, values in WRONG.items()
    for value in (*values, *(ODD if place in (("version",), ("release", "run_id")) else ()))
]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three versions, each another model; the second has all that a release record may hold."""
    folder = tmp_path_factory.mktemp("foreign")
    for letter in "abc":
        release = RELEASE if letter == "b" else {}
        documents = {"model_card.md": "of b", "sbom.json": "{}"} if letter == "b" else {}
        publish(letter_model(folder, letter), folder / "serving", release, documents=documents)
    (folder / ANSWERED).write_text("p_0,p_1,label\n1,0,0\n0,1,1\n")
    return folder / "serving"


@pytest.fixture
def serving(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "serving"))


def replaced(manifest: dict[str, Any], place: tuple[str, ...], value: str) -> str:
    """The manifest's text, with other JSON in one place."""
    content = json.loads(json.dumps(manifest))
    inner = content
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = HOLE
    return json.dumps(content).replace(json.dumps(HOLE), value)


def write_foreign(serving: Path, number: int, text: str) -> None:
    (serving / str(number) / MANIFEST_NAME).write_text(text)


def manifest_of(serving: Path, number: int) -> dict[str, Any]:
    return json.loads((serving / str(number) / MANIFEST_NAME).read_text())


def said(serving: Path, *words: str) -> tuple[int, str]:
    """The exit code and stdout of a command; an exception passes through, as a traceback would."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        code = main([*words, "--serving-dir", str(serving)])
    return code, out.getvalue()


@pytest.mark.parametrize(("place", "value"), CASES)
def test_what_is_used_of_a_manifest_has_its_type(
    place: tuple[str, ...], value: str, serving: Path
) -> None:
    write_foreign(serving, 2, replaced(manifest_of(serving, 2), place, value))
    foreign = versions(serving)[1]
    assert foreign.manifest is None
    assert foreign.problems[0].startswith("manifest.json is damaged: ")
    assert len(foreign.problems[0]) < 320


@pytest.mark.parametrize("place", ["restores", "withdraws"])
def test_a_rollback_of_a_version_that_was_not_there_is_named(place: str, serving: Path) -> None:
    manifest = manifest_of(serving, 2)
    write_foreign(serving, 2, replaced(manifest, ("release", "rollback", place), "7"))
    assert versions(serving)[1].problems == (
        "manifest.json is damaged: its rollback is of 7, expected an older version",
    )


def test_the_template_itself_is_valid(template: Path) -> None:
    assert [version.problems for version in versions(template, check_files=True)] == [(), (), ()]


def monitored(serving: Path, template: Path, number: int) -> tuple[int, str]:
    requests = str(template.parent / ANSWERED)
    return said(serving, "monitor", "--version", str(number), "--requests", requests, "--json")


def test_the_template_itself_is_monitored(template: Path) -> None:
    code, out = monitored(template, template, 2)
    assert (code, json.loads(out)["drift"]) == (0, False)


def test_a_live_version_of_a_foreign_manifest_is_rolled_back(serving: Path) -> None:
    write_foreign(serving, 3, '{"version": 1e999}')
    assert said(serving, "rollback", "--reason", "r") == (
        0,
        f"live: version 4 in {serving / '4'}, which restores 2\nwithdrawn: version 3, but not its "
        "model, since its manifest cannot be read: a run may release it again\n",
    )
    assert versions(serving, check_files=True)[-1].problems == ()


def test_a_version_of_a_foreign_manifest_stops_no_command(serving: Path) -> None:
    write_foreign(serving, 2, replaced(manifest_of(serving, 2), ("version",), "Infinity"))
    code, shown = said(serving, "versions")
    assert (code, shown.splitlines()[3].split()) == (0, [*"2-----", "damaged"])
    code, shown = said(serving, "verify")
    assert (code, "version 2: damaged\n  manifest.json is damaged: it holds Infinity" in shown) == (
        1,
        True,
    )
    assert said(serving, "rollback", "--reason", "r")[0] == 0
    code, shown = said(serving, "prune", "--keep", "1")
    assert (code, f"left alone: {serving / '2'} manifest.json is damaged" in shown) == (0, True)


# Numbers, texts and nestings that JSON parsers take and that are none of a manifest.
RAW = st.sampled_from([*ODD, *(value for values in WRONG.values() for value in values)])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(codec="utf-8") | st.sampled_from("\ud800\udcff\x1b\n\x00")),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["version", "name", "train", "reason"]), inner)
    ),
    max_leaves=6,
)
FOREIGN = RAW | VALUES.map(json.dumps)
# What `monitor` alone reads, and judges by itself.
OF_MONITOR = [("release", "reference"), *(("release", "reference", name) for name in REFERENCE)]
PLACES = st.sampled_from([(), *WRONG, *OF_MONITOR])
ANSWERED = "answered.csv"
COMMANDS = (
    ("versions",),
    ("versions", "--json"),
    ("verify",),
    ("verify", "--json"),
    ("prune", "--keep", "1", "--dry-run", "--json"),
    ("rollback", "--reason", "r", "--json"),
    ("rollback", "--reason", "r", "2", "--json"),
    ("prune", "--keep", "1"),
    ("versions", "--json"),
)


@contextlib.contextmanager
def copied(template: Path) -> Iterator[Path]:
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(os, "fsync"),  # most of the time, and of no concern here
    ):
        yield Path(shutil.copytree(template, Path(folder) / "serving"))


@given(place=PLACES, value=FOREIGN, number=st.sampled_from([2, 3]))
def test_any_json_in_a_manifests_place_leads_to_documented_exit_codes(
    template: Path, place: tuple[str, ...], value: str, number: int
) -> None:
    with copied(template) as serving:
        manifest = manifest_of(serving, 2)
        write_foreign(serving, number, replaced(manifest, place, value) if place else value)
        code, out = monitored(serving, template, number)
        assert code in (0, 1, 2, 3)
        json.loads(out, parse_constant=pytest.fail)
        for words in COMMANDS:
            code, out = said(serving, *words)
            assert code in (0, 1)
            if "--json" in words:
                json.loads(out, parse_constant=pytest.fail)
        assert versions(serving)[-1].number >= 3
