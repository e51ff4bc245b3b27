"""Outcome of a run: one of a few endings, with the exit code of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from kubectl_diffusion.report.comparison import document as comparison_document
from kubectl_diffusion.report.loadtest import document as loadtest_document
from kubectl_diffusion.report.rendering.verdicts import Verdict, verdicts_of

_NO_CONDITION = Verdict("", "Unknown", "", "")


class Ending(IntEnum):
    """Ending of a run; the value is the exit code. Argparse ends with 2, an error with 1."""

    MET = 0
    MISSED_SLO = 3
    INVALID = 4
    FAILED = 5
    TIMEOUT = 6
    REGRESSED = 7

    @property
    def words(self) -> str:
        """The ending in words."""
        return self.name.lower().replace("_", " ").replace("slo", "SLO")


@dataclass(frozen=True)
class Outcome:
    """Outcome of a run: its ending, the sentence that explains it, and all its verdicts."""

    ending: Ending
    message: str
    verdicts: tuple[Verdict, ...]


def outcome_of_test(status: Mapping[str, Any]) -> Outcome:
    """The outcome of an ended LoadTest; without an SLO, a valid run has met all that it has to.

    Figures that are not credible decide nothing, so that validity comes before the SLO.
    """
    verdicts = verdicts_of(status, loadtest_document.VERDICTS)
    known = {each.type: each for each in verdicts}
    failed, valid = known.get("Failed", _NO_CONDITION), known.get("Valid", _NO_CONDITION)
    if status.get("state") == "Failed":
        return Outcome(Ending.FAILED, _sentence(failed), verdicts)
    if valid.status != "True":
        return Outcome(Ending.INVALID, _sentence(valid), verdicts)
    slo, regressed = known.get("SLOMet"), known.get("Regressed")
    if slo is not None and slo.status != "True":
        ending = Ending.MISSED_SLO if slo.status == "False" else Ending.INVALID
        return Outcome(ending, _sentence(slo), verdicts)
    if regressed is not None and regressed.status != "False":
        ending = Ending.REGRESSED if regressed.status == "True" else Ending.INVALID
        return Outcome(ending, _sentence(regressed), verdicts)
    met = [each.message for each in (slo, regressed) if each is not None]
    complete = known.get("Complete", _NO_CONDITION)
    return Outcome(Ending.MET, "; ".join(met) or f"{complete.message}; no SLO is set", verdicts)


def outcome_of_comparison(status: Mapping[str, Any]) -> Outcome:
    """The outcome of an ended Comparison; the SLO is missed where no ranked variant met it."""
    verdicts = verdicts_of(status, comparison_document.VERDICTS)
    known = {each.type: each for each in verdicts}
    comparable = known.get("Comparable", _NO_CONDITION)
    if status.get("state") == "Failed":
        return Outcome(Ending.FAILED, _sentence(known.get("Failed", _NO_CONDITION)), verdicts)
    if comparable.status != "True":
        return Outcome(Ending.INVALID, _sentence(comparable), verdicts)
    conclusion = str(status.get("conclusion") or comparable.message)
    ranked = [row for row in status.get("results") or () if not row.get("reason")]
    if ranked and all(row.get("sloMet") is False for row in ranked):
        return Outcome(Ending.MISSED_SLO, f"no variant met the SLO: {conclusion}", verdicts)
    return Outcome(Ending.MET, conclusion, verdicts)


def _sentence(verdict: Verdict) -> str:
    if not verdict.reason:
        return "the status has no such verdict: are the plugin and the operator of one version?"
    return f"{verdict.reason}: {verdict.message}"
