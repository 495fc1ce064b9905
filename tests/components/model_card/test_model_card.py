"""The documents of a version: what they say, and that the readers they are meant for take them."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest
import yaml

from components.gate.check import Check
from components.gate.evidence import Evidence, Tally
from components.model_card import BOM_NAME, CARD_NAME, Subject, documents

RECORD = {
    "run_id": "20261127T010000Z-3f2a",
    "preset": "quick",
    "seed": 3,
    "training": {"architecture": "convnet", "epochs": 4, "dropout": 0.0, "weights": ""},
    "dataset": {
        "name": "digits",
        "fingerprint": "f" * 64,
        "image_shape": [28, 28, 1],
        "class_names": ["0", "a|b"],
        "splits": {"test": {"rows": 100, "class_counts": [50, 50], "digest": "d" * 64}},
    },
    "checks": [Check("floor", True, 0.97, 0.9, "accuracy <is> above 0.9").to_dict()],
    "baseline": {"version": 2, "model_digest": "b" * 64},
    "card": {"owner": "the *forms* team", "intended_use": "digits on forms", "license": "MIT"},
}
EVIDENCE = Evidence(
    overall=Tally(100, 98),
    classes={"0": Tally(50, 50), "a|b": Tally(50, 48)},
    slices={"height:10..20": Tally(0, 0), "height:20..30": Tally(10, 9)},
    cross_entropy=0.1,
    top_2_accuracy=0.99,
)
DIGEST = "0123abcd" + "0" * 56
SUBJECT = Subject(RECORD, EVIDENCE, DIGEST)
# Clopper and Pearson's for 98 of 100, as R's binom.test(98, 100) gives it.
LOW, HIGH = 0.9296161, 0.9975686
# The intervals of 50 of 50, 48 of 50 and 9 of 10 are those of SciPy's binomtest, too.
BODY = rf"""
# digits: an image classifier

## Use

- Intended use: digits on forms
- Owner: the \*forms\* team
- License: MIT
- Limits: the accuracy below holds for images like those of the test split, no others

## Data

- Data set: digits
- Digest of the source: {"f" * 64}
- Images: 28 × 28 × 1 (height, width, channels), 8 bits
- Classes: 0, a\|b
- Splits: test 100

## Training

- Preset: quick
- Seed: 3
- Hyper-parameters: architecture convnet, epochs 4, dropout 0.0

## Evaluation on the test split

| images | number | accuracy | 95 % interval |
| --- | --- | --- | --- |
| all | 100 | 0.9800 | 0.9296 to 0.9976 |
| class 0 | 50 | 1.0000 | 0.9289 to 1.0000 |
| class a\|b | 50 | 0.9600 | 0.8629 to 0.9951 |
| slice height:20..30 | 10 | 0.9000 | 0.5550 to 0.9975 |

- Top-2 accuracy: 0.9900
- Cross-entropy: 0.1000 nats

## Checks before the release

- passed: accuracy \<is> above 0.9

## Origin

- Run: 20261127T010000Z-3f2a
- Model digest: {DIGEST}
- Compared with: version 2
"""


def front_matter(card: str) -> dict:
    _, front, _ = card.split("---\n", 2)
    return yaml.safe_load(front)


def body(card: str) -> str:
    return card.split("---\n", 2)[2]


class TestCard:
    def test_it_shows_what_was_overridden_and_why(self) -> None:
        made = {"keys": ["gate.floor", "gate.slices"], "reason": "few\nimages"}
        overridden = dataclasses.replace(SUBJECT, record={**RECORD, "overrides": made})
        line = "Weaker than the data set's own policy: gate.floor, gate.slices; reason: few images"
        assert f"\n- {line}\n" in documents(overridden)[CARD_NAME]
        assert "Weaker" not in documents(SUBJECT)[CARD_NAME]

    def test_its_front_matter_has_a_model_index_with_metrics_and_intervals(self) -> None:
        interval = {
            "confidence": 0.95,
            "lower": pytest.approx(LOW, abs=1e-6),
            "upper": pytest.approx(HIGH, abs=1e-6),
        }
        result = {
            "task": {"type": "image-classification", "name": "Image classification"},
            "dataset": {"type": "digits", "name": "digits", "split": "test", "revision": "f" * 64},
            "metrics": [
                {"type": "accuracy", "name": "Accuracy", "value": 0.98, "args": interval},
                {"type": "top_2_accuracy", "name": "Top-2 accuracy", "value": 0.99},
                {"type": "cross_entropy", "name": "Cross-entropy", "value": 0.1},
            ],
        }
        assert front_matter(documents(SUBJECT)[CARD_NAME]) == {
            "license": "mit",
            "library_name": "keras",
            "pipeline_tag": "image-classification",
            "tags": ["tensorflow", "tfx", "savedmodel"],
            "datasets": ["digits"],
            "metrics": ["accuracy"],
            "model-index": [{"name": "digits-0123abcd", "results": [result]}],
        }

    def test_its_text_holds_what_people_ask(self) -> None:
        assert body(documents(SUBJECT)[CARD_NAME]) == BODY

    def test_text_of_others_stands_there_as_it_is(self) -> None:
        name = "&lt;b&gt; ~~x~~ $y$ \x1b[31m \u202eé"
        dataset = {**RECORD["dataset"], "class_names": ["0", name]}
        given = {"dataset": dataset, "card": {"owner": "Ann", "license": name}}
        text = documents(dataclasses.replace(SUBJECT, record={**RECORD, **given}))[CARD_NAME]
        shown = r"\&lt;b\&gt; \~\~x\~\~ \$y\$ \\x1b\[31m \\u202eé"
        assert f"- Classes: 0, {shown}\n" in text
        assert front_matter(text)["license"] == name.lower()
        assert all(line.isprintable() for line in text.splitlines())

    def test_what_nobody_stated_is_called_so(self) -> None:
        card = documents(Subject({}, EVIDENCE, DIGEST))[CARD_NAME]
        assert [line for line in body(card).splitlines() if line.startswith("- ")] == [
            "- Intended use: not stated",
            "- Owner: not stated",
            "- License: not stated",
            "- Limits: the accuracy below holds for images like those of the test split, no others",
            "- Data set: classifier",
            "- Top-2 accuracy: 0.9900",
            "- Cross-entropy: 0.1000 nats",
            f"- Model digest: {DIGEST}",
            "- Compared with: no version",
        ]
        assert "license" not in front_matter(card)


def versions() -> dict[str, str]:
    """Those of the libraries that the bill of materials names."""
    bom = json.loads(documents(SUBJECT)[BOM_NAME])
    return {one["name"]: one["version"] for one in bom["components"]}


def add_distribution(folder: Path, metadata: str | None) -> None:
    folder.mkdir()
    if metadata is not None:
        (folder / "METADATA").write_text(metadata)


class TestBillOfMaterials:
    @pytest.fixture
    def bom(self) -> dict:
        return json.loads(documents(SUBJECT)[BOM_NAME])

    @pytest.mark.parametrize("record", [RECORD, {}], ids=["full", "empty"])
    def test_it_keeps_the_official_schema_strictly(self, record: dict) -> None:
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator

        text = documents(Subject(record, EVIDENCE, DIGEST))[BOM_NAME]
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
        broken = text.replace('"machine-learning-model"', '"model"')
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(broken) is not None

    @pytest.mark.parametrize(
        ("stated", "licenses"),
        [
            ("apache-2.0", [{"license": {"id": "Apache-2.0"}}]),
            ("MIT or Apache-2.0", [{"expression": "MIT OR Apache-2.0"}]),
            ("LicenseRef-ours", [{"expression": "LicenseRef-ours"}]),
            ("for our own use", [{"license": {"name": "for our own use"}}]),
        ],
    )
    def test_a_license_that_spdx_knows_is_said_by_its_id(
        self, stated: str, licenses: list[dict]
    ) -> None:
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator

        text = documents(Subject({"card": {"license": stated}}, EVIDENCE, DIGEST))[BOM_NAME]
        assert json.loads(text)["metadata"]["component"]["licenses"] == licenses
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None

    def test_it_says_of_the_model_what_the_card_says(self, bom: dict) -> None:
        def properties(**values: object) -> list[dict[str, str]]:
            named = {f"tfx-mnist:{name}": str(one) for name, one in values.items()}
            return [{"name": name, "value": one} for name, one in named.items()]

        model = bom["metadata"]["component"]
        metrics = model["modelCard"].pop("quantitativeAnalysis")["performanceMetrics"]
        assert model == {
            "type": "machine-learning-model",
            "bom-ref": f"model:{DIGEST}",
            "supplier": {"name": "the *forms* team"},
            "name": "digits",
            "version": DIGEST,
            "licenses": [{"license": {"id": "MIT"}}],
            "modelCard": {
                "modelParameters": {
                    "approach": {"type": "supervised"},
                    "task": "image classification",
                    "architectureFamily": "neural network",
                    "modelArchitecture": "convnet",
                    "datasets": [
                        {
                            "type": "dataset",
                            "name": "digits",
                            "contents": {
                                "properties": properties(
                                    **{"fingerprint": "f" * 64},
                                    **{"test.rows": 100, "test.digest": "d" * 64},
                                )
                            },
                        }
                    ],
                    "inputs": [{"format": "PNG"}],
                    "outputs": [{"format": "probabilities, float32, one per class"}],
                },
                "considerations": {"useCases": ["digits on forms"]},
                "properties": properties(**RECORD["training"]),
            },
            "properties": properties(run=RECORD["run_id"]),
        }
        *of_accuracy, top_2, entropy = metrics
        assert [(one["type"], one["value"], one.get("slice")) for one in of_accuracy] == [
            ("accuracy", "0.98", None),
            ("accuracy", "1.0", "class 0"),
            ("accuracy", "0.96", "class a|b"),
            ("accuracy", "0.9", "slice height:20..30"),
        ]
        interval = {name: float(one) for name, one in metrics[0]["confidenceInterval"].items()}
        assert interval == pytest.approx({"lowerBound": LOW, "upperBound": HIGH}, abs=1e-6)
        assert [top_2, entropy] == [
            {"type": "top_2_accuracy", "value": "0.99"},
            {"type": "cross_entropy", "value": "0.1"},
        ]
        depends = [one["bom-ref"] for one in bom["components"]]
        assert bom["dependencies"] == [{"ref": f"model:{DIGEST}", "dependsOn": depends}]

    def test_what_nobody_stated_is_left_out(self) -> None:
        bom = json.loads(documents(Subject({}, EVIDENCE, DIGEST))[BOM_NAME])
        model = bom["metadata"]["component"]
        assert {"supplier", "licenses"}.isdisjoint(model)
        assert "considerations" not in model["modelCard"]

    def test_a_model_that_resizes_takes_each_format(self) -> None:
        dataset = {**RECORD["dataset"], "resize": "pad"}
        resizes = dataclasses.replace(SUBJECT, record={**RECORD, "dataset": dataset})
        bom = json.loads(documents(resizes)[BOM_NAME])
        inputs = bom["metadata"]["component"]["modelCard"]["modelParameters"]["inputs"]
        assert [one["format"] for one in inputs] == ["PNG", "JPEG", "BMP", "GIF"]

    def test_it_names_the_libraries_of_this_environment(self, bom: dict) -> None:
        import numpy

        assert {
            "type": "library",
            "bom-ref": f"pkg:pypi/numpy@{numpy.__version__}",
            "name": "numpy",
            "version": numpy.__version__,
            "purl": f"pkg:pypi/numpy@{numpy.__version__}",
        } in bom["components"]

    def test_a_package_url_has_pypis_spelling_of_a_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add_distribution(tmp_path / "x.dist-info", "Name: Our_Tool\nVersion: 1.0+cpu\n")
        monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
        bom = json.loads(documents(SUBJECT)[BOM_NAME])
        (tool,) = (one for one in bom["components"] if one["name"] == "Our_Tool")
        assert tool["purl"] == "pkg:pypi/our-tool@1.0%2Bcpu"

    @pytest.mark.parametrize("name", ["numpy", "NumPy"])
    def test_of_two_versions_on_the_path_it_names_the_one_that_is_imported(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import numpy

        before = versions()
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n"
        add_distribution(tmp_path / f"{name}-0.1.dist-info", metadata)
        monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
        assert versions() == before
        assert before["numpy"] == numpy.__version__

    @pytest.mark.parametrize("metadata", [None, "Version: 1\n", "Name: gone\n"])
    def test_what_is_left_of_a_library_is_none(
        self, metadata: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = versions()
        add_distribution(tmp_path / "gone-1.dist-info", metadata)
        monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
        assert versions() == before


def test_equal_releases_have_equal_documents() -> None:
    assert documents(SUBJECT) == documents(Subject(dict(RECORD), EVIDENCE, DIGEST))
    other = dataclasses.replace(SUBJECT, model_digest="1" * 64)
    serials = [json.loads(documents(one)[BOM_NAME])["serialNumber"] for one in (SUBJECT, other)]
    assert serials[0] != serials[1]
