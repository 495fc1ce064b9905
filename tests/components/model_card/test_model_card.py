"""The documents of a version: what they say, and that the readers they are meant for take them."""

import dataclasses
import json

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
    slices={"height:10..20": Tally(0, 0)},
    cross_entropy=0.1,
    top_2_accuracy=0.99,
)
DIGEST = "0123abcd" + "0" * 56
SUBJECT = Subject(RECORD, EVIDENCE, DIGEST)
# Clopper and Pearson's for 98 of 100, as R's binom.test(98, 100) gives it.
LOW, HIGH = 0.9296161, 0.9975686


def front_matter(card: str) -> dict:
    _, front, _ = card.split("---\n", 2)
    return yaml.safe_load(front)


class TestCard:
    def test_it_shows_what_was_overridden_and_why(self) -> None:
        made = {"keys": ["gate.floor", "gate.slices"], "reason": "few\nimages"}
        overridden = dataclasses.replace(SUBJECT, record={**RECORD, "overrides": made})
        line = "Weaker than the data set's own policy: gate.floor, gate.slices; reason: few images"
        assert f"\n- {line}\n" in documents(overridden)[CARD_NAME]
        assert "Weaker" not in documents(SUBJECT)[CARD_NAME]

    def test_its_front_matter_has_a_model_index_with_metrics_and_intervals(self) -> None:
        front = front_matter(documents(SUBJECT)[CARD_NAME])
        assert (front["license"], front["pipeline_tag"]) == ("mit", "image-classification")
        (entry,) = front["model-index"]
        assert entry["name"] == "digits-0123abcd"
        (result,) = entry["results"]
        assert result["task"]["type"] == "image-classification"
        assert result["dataset"] == {
            "type": "digits",
            "name": "digits",
            "split": "test",
            "revision": "f" * 64,
        }
        accuracy = result["metrics"][0]
        assert (accuracy["type"], accuracy["value"]) == ("accuracy", 0.98)
        assert accuracy["args"] == {
            "confidence": 0.95,
            "lower": pytest.approx(LOW, abs=1e-6),
            "upper": pytest.approx(HIGH, abs=1e-6),
        }

    def test_its_text_holds_what_people_ask(self) -> None:
        card = documents(SUBJECT)[CARD_NAME]
        for line in (
            "- Intended use: digits on forms",
            r"- Owner: the \*forms\* team",
            "- Images: 28 × 28 × 1 (height, width, channels), 8 bits",
            "- Hyper-parameters: architecture convnet, epochs 4, dropout 0.0\n",
            "| all | 100 | 0.9800 | 0.9296 to 0.9976 |",
            r"| class a\|b | 50 | 0.9600 | 0.8629 to 0.9951 |",
            r"- passed: accuracy \<is> above 0.9",
            "- Compared with: version 2",
            f"- Model digest: {DIGEST}",
        ):
            assert f"\n{line}\n" in card

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
        assert "- Intended use: not stated\n" in card
        assert "- Compared with: no version\n" in card
        assert "license" not in front_matter(card)


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

    def test_its_model_card_has_metrics_with_intervals_per_class(self, bom: dict) -> None:
        model = bom["metadata"]["component"]
        assert (model["version"], model["supplier"]["name"]) == (DIGEST, "the *forms* team")
        first, _, second, *_ = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
        assert float(first["value"]) == 0.98
        assert float(first["confidenceInterval"]["lowerBound"]) == pytest.approx(LOW, abs=1e-6)
        assert second["slice"] == "class a|b"
        assert model["modelCard"]["considerations"] == {"useCases": ["digits on forms"]}

    def test_it_names_the_libraries_of_this_environment(self, bom: dict) -> None:
        import numpy

        assert {
            "type": "library",
            "bom-ref": f"pkg:pypi/numpy@{numpy.__version__}",
            "name": "numpy",
            "version": numpy.__version__,
            "purl": f"pkg:pypi/numpy@{numpy.__version__}",
        } in bom["components"]


def test_equal_releases_have_equal_documents() -> None:
    assert documents(SUBJECT) == documents(Subject(dict(RECORD), EVIDENCE, DIGEST))
    other = dataclasses.replace(SUBJECT, model_digest="1" * 64)
    serials = [json.loads(documents(one)[BOM_NAME])["serialNumber"] for one in (SUBJECT, other)]
    assert serials[0] != serials[1]
