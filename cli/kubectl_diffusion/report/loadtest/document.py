"""What a report shows: the runner's JSON, and what the cluster knows beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from kubectl_diffusion.documents.load_report import Report
from kubectl_diffusion.terminal.errors import PluginError

R = TypeVar("R", bound=BaseModel)

_ORDER = ("Complete", "Failed", "Valid", "SLOMet")


@dataclass(frozen=True)
class Verdict:
    """One condition: whether it holds, why, in a word and in a sentence."""

    type: str
    status: str
    reason: str
    message: str

    @property
    def mood(self) -> str:
        """good, bad or open: how it is coloured."""
        if self.status == "Unknown":
            return "open"
        wanted = "False" if self.type == "Failed" else "True"
        return "good" if self.status == wanted else "bad"


@dataclass(frozen=True)
class Document:
    """All that a page or a table is made of."""

    title: str
    report: Report
    verdicts: tuple[Verdict, ...]
    facts: dict[str, str] = field(default_factory=dict)
    """The target's fingerprint."""


def parsed(model: type[R], text: str, what: str) -> R:
    """The JSON of a report of version 1. Raises ``PluginError``, which says ``what`` it isn't."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the document"
        raise PluginError(
            f"this is no {what} that is known here ({place}: {first['msg']}): are the "
            "plugin and the operator of the same version?"
        ) from None


def verdicts_of(status: Mapping[str, Any], kinds: Sequence[str]) -> tuple[Verdict, ...]:
    """Those conditions of a status, in that order, that are there."""
    said = {each["type"]: each for each in status.get("conditions") or ()}
    return tuple(
        Verdict(kind, said[kind]["status"], said[kind]["reason"], said[kind]["message"])
        for kind in kinds
        if kind in said
    )


def parse(text: str) -> Report:
    """The runner's JSON. Raises ``PluginError`` for one that isn't a report of version 1."""
    return parsed(Report, text, "load report")


def of_file(text: str, name: str) -> Document:
    """A report on its own, judged by the runner alone."""
    report = parse(text)
    return Document(name, report, _runners_verdicts(report), dict(report.target.fingerprint))


def of_test(test: Mapping[str, Any], text: str) -> Document:
    """The report of a LoadTest: its status may know more, of a target that was scaled, say."""
    report = parse(text)
    status = test.get("status") or {}
    if status.get("run") != report.run:
        verdicts = _runners_verdicts(report)
    else:
        verdicts = verdicts_of(status, _ORDER)
    known = ((status.get("target") or {}).get("fingerprint")) or {}
    more = {name: str(known[name]) for name in ("image", "replicas", "digest") if known.get(name)}
    title = f"{test['metadata']['namespace']}/{test['metadata']['name']}"
    return Document(title, report, verdicts, {**report.target.fingerprint, **more})


def _runners_verdicts(report: Report) -> tuple[Verdict, ...]:
    found = []
    error = report.error
    if error is None:
        message = f"{report.summary.requests} requests, {report.summary.failures} of them failed"
        found.append(Verdict("Complete", "True", "Finished", message))
    else:
        found.append(Verdict("Failed", "True", error.reason, error.message))
    if report.valid is not None:
        status = str(report.valid.status)
        found.append(Verdict("Valid", status, report.valid.reason, report.valid.message))
    if report.slo is not None:
        reason = "WithinSLO" if report.slo.met else "BeyondSLO"
        found.append(Verdict("SLOMet", str(report.slo.met), reason, report.slo.message))
    return tuple(found)
