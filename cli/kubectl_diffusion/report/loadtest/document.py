"""The content of a load test's report: the runner's JSON, and what the cluster adds to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kubectl_diffusion.documents.load_report import Report
from kubectl_diffusion.documents.reader import parsed
from kubectl_diffusion.report.rendering.verdicts import Verdict, verdicts_of

VERDICTS = ("Complete", "Failed", "Valid", "SLOMet", "Regressed")
"""The conditions of a LoadTest that are verdicts, in the order of the report."""


@dataclass(frozen=True)
class Document:
    """The content of a page or a table."""

    title: str
    report: Report
    verdicts: tuple[Verdict, ...]
    facts: dict[str, str] = field(default_factory=dict)
    """The target's fingerprint."""


def parse(text: str) -> Report:
    """The runner's JSON. Raises ``PluginError`` for another document or version."""
    return parsed(Report, text, "load report")


def of_file(text: str, name: str) -> Document:
    """A report from a file, with the runner's own verdicts."""
    report = parse(text)
    return Document(name, report, _runners_verdicts(report), dict(report.target.fingerprint))


def of_test(test: Mapping[str, Any], text: str) -> Document:
    """The report of a LoadTest, with the verdicts of its status, which may know more."""
    report = parse(text)
    status = test.get("status") or {}
    if status.get("run") != report.run:
        verdicts = _runners_verdicts(report)
    else:
        verdicts = verdicts_of(status, VERDICTS)
    known = ((status.get("target") or {}).get("fingerprint")) or {}
    more = {name: str(known[name]) for name in ("image", "replicas", "digest") if known.get(name)}
    title = f"{test['metadata']['namespace']}/{test['metadata']['name']}"
    return Document(title, report, verdicts, {**report.target.fingerprint, **more})


def _runners_verdicts(report: Report) -> tuple[Verdict, ...]:
    verdicts = []
    error = report.error
    if error is None:
        message = f"{report.summary.requests} requests, {report.summary.failures} of them failed"
        verdicts.append(Verdict("Complete", "True", "Finished", message))
    else:
        verdicts.append(Verdict("Failed", "True", error.reason, error.message))
    if report.valid is not None:
        status = str(report.valid.status)
        verdicts.append(Verdict("Valid", status, report.valid.reason, report.valid.message))
    if report.slo is not None:
        reason = report.slo.reason or ("WithinSLO" if report.slo.met else "BeyondSLO")
        verdicts.append(Verdict("SLOMet", str(report.slo.met), reason, report.slo.message))
    return tuple(verdicts)
