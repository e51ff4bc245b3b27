"""Regression of a run against a baseline, by the intervals of their windows. Pure.

Both reports have the 95% interval of each percentile, by order statistics of independent draws. A
percentile's logarithm is taken as normal, with the standard error of its interval's width; the
difference of two such logarithms is the logarithm of the ratio, with its own interval.
"""

from dataclasses import dataclass
from math import exp, hypot, log
from statistics import NormalDist
from typing import Literal

from diffusion_operator.documents.load_report import LoadReport, ReportedWindow
from diffusion_operator.kube.conditions import Verdict

REGRESSED = "Regressed"
FIGURES = ("p50", "p95")
FALSE_ALARMS = 0.05
"""Share of runs, equal to their baseline, that count as a regression at most."""
LEAST_CHANGE = 0.03
"""Smallest regression: equal runs of one server differ by a percent, which no interval contains."""
MORE_FAILED = 0.01
"""Share of requests that may fail beyond the baseline's, as an SLO's default allows."""
_NORMAL = NormalDist()
_WIDTH = 2 * _NORMAL.inv_cdf(0.975)
# Either figure alone can raise a false alarm (Bonferroni).
_LEVEL = _NORMAL.inv_cdf(1 - FALSE_ALARMS / len(FIGURES))


@dataclass(frozen=True)
class Baseline:
    """Run of a LoadTest that another run is compared with; ``trouble`` says why there is none."""

    name: str
    report: LoadReport | None = None
    trouble: str = ""


@dataclass(frozen=True)
class Change:
    """Change of a figure: the ratio to the baseline's, and its interval at 95%."""

    figure: str
    ratio: float
    low: float
    high: float
    is_worse: bool

    @property
    def sentence(self) -> str:
        """The change in percent, with its interval."""
        ends = f"{_percent(self.low)} to {_percent(self.high)}"
        return f"{self.figure} {_percent(self.ratio)} ({ends})"


def change(figure: str, now: ReportedWindow, before: ReportedWindow) -> Change | None:
    """Change of one figure; ``None`` where a run has no interval of it."""
    logs = [_log_and_error(figure, each) for each in (now, before)]
    if logs[0] is None or logs[1] is None:
        return None
    difference = logs[0][0] - logs[1][0]
    error = hypot(logs[0][1], logs[1][1])
    half = error * _WIDTH / 2
    return Change(
        figure,
        exp(difference),
        exp(difference - half),
        exp(difference + half),
        is_worse=difference > max(_LEVEL * error, log(1 + LEAST_CHANGE)),
    )


def _log_and_error(figure: str, window: ReportedWindow) -> tuple[float, float] | None:
    """Logarithm of the percentile, and its standard error."""
    value, interval = getattr(window, figure), window.intervals.get(figure)
    if not value or interval is None or not interval.low or not interval.high:
        return None
    return log(value), (log(interval.high) - log(interval.low)) / _WIDTH


def regressed(report: LoadReport | None, baseline: Baseline) -> Verdict:
    """Verdict on the condition Regressed; Unknown where nothing can be compared.

    ``report`` is that of a valid run, or ``None``.
    """
    windows = _windows(report, baseline)
    if isinstance(windows, Verdict):
        return windows
    now, before = windows
    changes = [made for each in FIGURES if (made := change(each, now, before))]
    if not changes:
        message = "a run has too few independent draws for an interval: measure for longer"
        return _unknown("TooFewSamples", message)
    text = f"against {baseline.name}: {', '.join(each.sentence for each in changes)}"
    more_failed = _failed(now) - _failed(before)
    if more_failed > MORE_FAILED:
        text = f"{text}; {100 * more_failed:.1f}% more of the requests failed"
        return _verdict("True", "MoreFailures", text)
    if any(each.is_worse for each in changes):
        return _verdict("True", "Slower", text)
    return _verdict("False", "NotSlower", text)


def _windows(
    report: LoadReport | None, baseline: Baseline
) -> tuple[ReportedWindow, ReportedWindow] | Verdict:
    """Windows of the run and of its baseline, or the verdict where one of them is missing."""
    if baseline.trouble or baseline.report is None:
        return _unknown("NoBaseline", baseline.trouble)
    if report is None or report.window is None:
        return _unknown("NoFigures", "the run has no valid figures, or not yet")
    before = baseline.report.window
    if baseline.report.valid is None or not baseline.report.valid.status or before is None:
        message = f"the run of {baseline.name} is not valid: choose a run whose Valid is True"
        return _unknown("BaselineNotValid", message)
    return report.window, before


def _unknown(reason: str, message: str) -> Verdict:
    return _verdict("Unknown", reason, message)


def _verdict(status: Literal["True", "False", "Unknown"], reason: str, message: str) -> Verdict:
    return Verdict(REGRESSED, status, reason, message)


def _failed(window: ReportedWindow) -> float:
    return window.failures / window.requests if window.requests else 0.0


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f}%"
