import dataclasses
import json
from pathlib import Path

import pytest
from tfx.types import standard_artifacts

from components import blessing
from components.gate.check import Check
from components.serving_dir import Baseline, Comparison
from tests.components.gate.cases import COMPARED, SEVERAL, checks_of, with_slices

PASSED = Check("accuracy", True, 0.99, 0.98, "accuracy is 0.99, at least 0.98")
FAILED = Check("loss", False, 0.3, 0.2, "loss is 0.3, required is 0.2 or less")


@pytest.fixture(params=[standard_artifacts.ModelBlessing, standard_artifacts.InfraBlessing])
def artifact(request, tmp_path: Path):
    made = request.param()
    made.uri = str(tmp_path)
    return made


@pytest.mark.parametrize(
    ("checks", "expected"),
    [((PASSED,), True), ((PASSED, FAILED), False), ((), False)],
    ids=["all passed", "one failed", "no check"],
)
def test_it_blesses_when_every_check_passed_and_there_are_any(artifact, checks, expected):
    assert blessing.write(artifact, checks) is expected
    assert blessing.is_blessed(artifact) is expected
    assert blessing.checks_of(artifact) == checks


@pytest.mark.parametrize(
    "compared", [Comparison(None), Comparison(Baseline(1, "d1")), Comparison(None, "version 1: ?")]
)
def test_the_facts_of_a_release_survive_with_the_checks(artifact, compared):
    evidence = with_slices(COMPARED, SEVERAL, SEVERAL)
    for counted in (evidence, dataclasses.replace(evidence, confusion=((970, 30), (30, 970)))):
        facts = blessing.ReleaseFacts(counted, "1c77", compared)
        checks = checks_of(counted)
        blessing.write(artifact, checks, facts=facts)
        assert blessing.facts_of(artifact) == facts
        assert blessing.checks_of(artifact) == tuple(checks)


def test_the_checks_stand_in_a_file_too(artifact):
    blessing.write(artifact, (PASSED, FAILED))
    written = json.loads(Path(artifact.uri, blessing.CHECKS_FILE).read_text())
    assert written == [PASSED.to_dict(), FAILED.to_dict()]


def test_an_empty_artifact_blesses_nothing(artifact):
    assert not blessing.is_blessed(artifact)
    assert blessing.checks_of(artifact) == ()
    assert blessing.facts_of(artifact) is None


def test_the_files_are_those_of_tfx(tmp_path):
    for kind, names in (
        (standard_artifacts.ModelBlessing, {True: "BLESSED", False: "NOT_BLESSED"}),
        (standard_artifacts.InfraBlessing, {True: "INFRA_BLESSED", False: "INFRA_NOT_BLESSED"}),
    ):
        for blessed, name in names.items():
            artifact = kind()
            artifact.uri = str(tmp_path / name)
            blessing.write(artifact, (PASSED,) if blessed else (FAILED,))
            assert Path(artifact.uri, name).is_file()
