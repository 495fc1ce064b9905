"""The gate's checks for a continuous integration: JUnit's XML, and a Markdown table.

Synopsis::

    junit("gate check", checks, left_out=(("cross_entropy", "there are no probabilities"),))
    markdown("gate check", checks)

The XML keeps to what Jenkins, GitLab and GitHub's actions read alike: one suite, a case for each
check, and failure, skipped or error in it.
"""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence

from components.gate.check import FAILED, NOT_JUDGED, PASSED, Check
from trainer.host.text import printable

LeftOut = Sequence[tuple[str, str]]  # names of checks, and why they could not be made

# What Markdown, or GitHub in it, makes something else of: also @names and #numbers.
_MARKUP = re.compile(r"[\\`*_\[\]#|~@:^$]")
_NO_XML = re.compile("[\ufffe\uffff\ud800-\udfff]")  # printable to Python or not, XML takes none


def junit(
    title: str, checks: Sequence[Check], *, left_out: LeftOut = (), error: str | None = None
) -> str:
    """Returns the document; `error` says why nothing could be decided, if so."""
    cases = [*(_case(check) for check in checks), *_other_cases(left_out, error)]
    count = {kind: sum(case.find(kind) is not None for case in cases) for kind in _KINDS}
    numbers = {"tests": len(cases), "failures": count["failure"], "errors": count["error"]}
    shared = {name: str(number) for name, number in numbers.items()}
    root = ElementTree.Element("testsuites", {"name": "tfx-mnist", **shared})
    skipped = {"skipped": str(count["skipped"]), "time": "0"}
    suite = ElementTree.SubElement(root, "testsuite", {"name": title, **shared, **skipped})
    suite.extend(cases)
    ElementTree.indent(root)
    return ElementTree.tostring(root, "utf-8", xml_declaration=True).decode() + "\n"


_KINDS = ("failure", "error", "skipped")


def _case(check: Check) -> ElementTree.Element:
    case = _named(check.name)
    if check.result == NOT_JUDGED:
        ElementTree.SubElement(case, "skipped", {"message": _xml(check.sentence)})
        return case
    if check.result == PASSED:
        ElementTree.SubElement(case, "system-out").text = _xml(check.sentence)
        return case
    message = {"message": _xml(check.sentence), "type": "refused"}
    values = f"{check.sentence}\nfound: {check.actual}\nrequired: {check.required}"
    ElementTree.SubElement(case, "failure", message).text = _xml(values)
    return case


def _other_cases(left_out: LeftOut, error: str | None) -> Iterator[ElementTree.Element]:
    for name, reason in left_out:
        case = _named(name)
        ElementTree.SubElement(case, "skipped", {"message": _xml(reason)})
        yield case
    if error is not None:
        case = _named("decision")
        message = {"message": _xml(error), "type": "failed"}
        ElementTree.SubElement(case, "error", message).text = _xml(error)
        yield case


def _named(name: str) -> ElementTree.Element:
    fields = {"classname": "tfx-mnist.checks", "name": _xml(name), "time": "0"}
    return ElementTree.Element("testcase", fields)


def _xml(text: str) -> str:
    """Escapes what XML cannot hold at all; the library escapes the rest."""
    kept = printable(text, keep="\n")
    return _NO_XML.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), kept)


def markdown(
    title: str, checks: Sequence[Check], *, left_out: LeftOut = (), error: str | None = None
) -> str:
    """Returns a heading and a table, the failed checks first; texts of others stay plain text."""
    failed = [check for check in checks if not check.passed]
    decided = f"refused, {len(failed)} of {len(checks)} checks failed"
    verdict = decided if failed else f"passed, none of {len(checks)} checks failed"
    lines = [f"### {_plain(title)}: {'failed' if error is not None else verdict}", ""]
    if error is not None:
        lines += [_plain(error), ""]
    rows = [_row(check) for check in sorted(checks, key=lambda check: check.passed)]
    rows += [f"| ⚪ left out | {_plain(name)} | | | {_plain(why)} |" for name, why in left_out]
    if rows:
        lines += ["| | check | found | required | in words |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([*lines, *rows]).rstrip() + "\n"


_SIGNS = {PASSED: "✅", FAILED: "❌", NOT_JUDGED: "⚪"}


def _row(check: Check) -> str:
    cells = (check.name, _value(check.actual), _value(check.required), check.sentence)
    return f"| {_SIGNS[check.result]} {check.result} | {' | '.join(map(_plain, cells))} |"


def _value(value: float | str | None) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _plain(text: str) -> str:
    """Escapes HTML, Markdown, and what would end a line or a cell."""
    escaped = html.escape(printable(text), quote=False)
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", escaped)
