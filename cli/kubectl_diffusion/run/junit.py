"""JUnit document of a run, as pipelines read it: one test case for each verdict."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from xml.etree import ElementTree as ET

from kubectl_diffusion.report.rendering.verdicts import Verdict
from kubectl_diffusion.run.outcome import Ending, Outcome

# Characters that no XML 1.0 document may hold: https://www.w3.org/TR/xml/#charsets
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAGS = {Ending.MISSED_SLO: "failure", Ending.REGRESSED: "failure"}
"""Tags of the endings that are a measured result; all others are errors of the run."""

_MEASURED = frozenset({"SLOMet", "Regressed"})


@dataclass(frozen=True)
class Case:
    """A test case: its name, the tag of its result (none if it passed), reason and message."""

    name: str
    tag: str = ""
    reason: str = ""
    message: str = ""


def junit(title: str, status: Mapping[str, Any], outcome: Outcome) -> bytes:
    """The document; the first case is the outcome, whose result is that of the exit code."""
    cases = [_of_outcome(outcome), *_of_verdicts(outcome.verdicts), *_of_variants(status)]
    suite = ET.Element(
        "testsuite",
        name=_text(title),
        tests=str(len(cases)),
        failures=str(_count(cases, "failure")),
        errors=str(_count(cases, "error")),
        skipped=str(_count(cases, "skipped")),
        time=f"{_seconds(status):g}",
    )
    if status.get("startTime"):
        suite.set("timestamp", _text(str(status["startTime"])))
    properties = ET.SubElement(suite, "properties")
    for name, value in _facts(status).items():
        ET.SubElement(properties, "property", name=name, value=_text(value))
    for case in cases:
        element = ET.SubElement(suite, "testcase", classname=_text(title), name=_text(case.name))
        if case.tag:
            result = ET.SubElement(element, case.tag, message=_text(case.message))
            if case.tag != "skipped":
                result.set("type", _text(case.reason))
            result.text = _text(case.message)
    document = ET.Element("testsuites")
    document.append(suite)
    ET.indent(document)
    xml: bytes = ET.tostring(document, encoding="utf-8", xml_declaration=True)
    return xml + b"\n"


def _of_outcome(outcome: Outcome) -> Case:
    if outcome.ending is Ending.MET:
        return Case("verdict")
    tag = _TAGS.get(outcome.ending, "error")
    return Case("verdict", tag, outcome.ending.words, outcome.message)


def _of_verdicts(verdicts: Iterable[Verdict]) -> list[Case]:
    """A case for each verdict; a run without an answer is skipped, never green."""
    cases = []
    for each in verdicts:
        if each.type == "Failed":
            continue  # Complete tells the same
        bad = "failure" if each.type in _MEASURED else "error"
        tag = {"good": "", "bad": bad, "open": "skipped"}[each.mood]
        cases.append(Case(each.type, tag, each.reason, each.message))
    return cases


def _of_variants(status: Mapping[str, Any]) -> list[Case]:
    """A case for each variant of a Comparison: skipped if not ranked, failed beyond the SLO."""
    cases = []
    for row in status.get("results") or ():
        name = f"variant {row['variant']}"
        if row.get("reason"):
            cases.append(Case(name, "skipped", row["reason"], str(row.get("message", ""))))
        elif row.get("sloMet") is False:
            cases.append(Case(name, "failure", "BeyondSLO", "the variant missed its SLO"))
        else:
            cases.append(Case(name))
    return cases


def _count(cases: Iterable[Case], tag: str) -> int:
    return sum(case.tag == tag for case in cases)


def _facts(status: Mapping[str, Any]) -> dict[str, str]:
    target, window = status.get("target") or {}, status.get("window") or {}
    facts = {
        "run": status.get("run"),
        "runAt": status.get("runAt"),
        "target": target.get("url"),
        "revision": target.get("revision"),
        "recommended": status.get("recommended"),
        **{name: window.get(name) for name in ("requestsPerSecond", "p50", "p95", "p99")},
    }
    return {name: str(value) for name, value in facts.items() if value not in (None, "")}


def _seconds(status: Mapping[str, Any]) -> float:
    begin, end = status.get("startTime"), status.get("completionTime")
    if not begin or not end:
        return 0.0
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


def _text(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)
