"""The checks for a continuous integration: JUnit XML that readers take, Markdown of plain text."""

import xml.etree.ElementTree as ElementTree

import pytest

from components.gate.check import Check
from pipeline.ci_report import junit, markdown

GOOD = Check("floor", True, 0.97, 0.96, "accuracy 0.98 reaches the floor")
BAD = Check("class.<b>&", False, "x|y", None, 'class "<b>" & `a`|b\nnext @team #3 \x1b[31m')
LEFT_OUT = (("cross_entropy", "there are no probabilities"),)


def suite(text: str) -> ElementTree.Element:
    root = ElementTree.fromstring(text)
    assert root.tag == "testsuites"
    (found,) = root
    return found


def test_each_check_is_a_case_of_one_suite() -> None:
    found = suite(junit("gate check", [GOOD, BAD], left_out=LEFT_OUT))
    counts = {name: found.get(name) for name in ("name", "tests", "failures", "errors", "skipped")}
    assert counts == {
        "name": "gate check",
        "tests": "3",
        "failures": "1",
        "errors": "0",
        "skipped": "1",
    }
    assert [case.get("name") for case in found] == ["floor", "class.<b>&", "cross_entropy"]
    assert {case.get("classname") for case in found} == {"tfx-mnist.checks"}
    assert found[0].find("failure") is None
    assert found[2].find("skipped").get("message") == "there are no probabilities"


def test_a_failure_says_its_sentence_with_controls_escaped() -> None:
    (case,) = suite(junit("t", [BAD]))
    failure = case.find("failure")
    assert failure.get("message").startswith('class "<b>" & `a`|b')
    assert failure.text.endswith("\nfound: x|y\nrequired: None")
    assert "\x1b" not in failure.text
    assert r"\x1b[31m" in failure.text


def test_what_was_not_judged_is_skipped_and_stands_apart() -> None:
    few = Check("slice.x", True, None, 0.88, "x has 4 test images, too few to be judged")
    (case,) = suite(junit("t", [few]))
    assert case.find("skipped").get("message") == few.sentence
    assert "| ⚪ not judged | slice.x |  | 0.88 |" in markdown("t", [few])


@pytest.mark.parametrize("text", ["\x00", "\ufffe", "\udcff", "\x0b"])
def test_what_xml_cannot_hold_is_escaped(text: str) -> None:
    (case,) = suite(junit("t", [Check("a", False, None, None, f"before{text}after")]))
    assert "after" in case.find("failure").get("message")


def test_an_error_is_a_case_of_its_own() -> None:
    found = suite(junit("t", [], error="the file is gone"))
    assert (found.get("tests"), found.get("errors")) == ("1", "1")
    assert found[0].find("error").get("message") == "the file is gone"


def test_the_table_has_failed_checks_first_and_one_row_each() -> None:
    lines = markdown("gate check", [GOOD, BAD], left_out=LEFT_OUT).splitlines()
    assert lines[0] == "### gate check: refused, 1 of 2 checks failed"
    assert lines[2] == "| | check | found | required | in words |"
    assert [line.partition(" | ")[0] for line in lines[4:]] == [
        *("| ❌ failed", "| ✅ passed", "| ⚪ left out")
    ]
    assert {line.count("|") for line in lines[4:]} == {6}


def test_texts_of_others_stay_plain_text() -> None:
    row = markdown("t", [BAD]).splitlines()[4]
    for markup in ("<b>", "`", "@team", "#3 ", "\x1b"):
        assert markup not in row.replace("&#", "")
    assert "class &quot;" not in row
    assert 'class "&lt;b&gt;" &amp; &#96;a&#96;&#124;b' in row


def test_an_error_stands_above_the_table() -> None:
    text = markdown("t", [], error="cannot read *it*")
    assert text == "### t: failed\n\ncannot read &#42;it&#42;\n"


def test_all_passed_is_said() -> None:
    assert markdown("t", [GOOD]).startswith("### t: passed, none of 1 checks failed\n")
