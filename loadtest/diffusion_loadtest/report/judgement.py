"""The verdict on the objectives in one window, from the samples. Pure."""

from diffusion_loadtest.measure.samples import Samples
from diffusion_loadtest.plan.load_plan import Search, Slo
from diffusion_loadtest.plan.search import Probe
from diffusion_loadtest.report.figures import Window, answer_rate, arrival_rate, samples_in
from diffusion_loadtest.report.load_report import SloVerdict
from diffusion_loadtest.report.overload import overload
from diffusion_loadtest.report.slo import Requests, judge


def judge_window(slo: Slo, samples: Samples, window: Window, overloaded: str | None) -> SloVerdict:
    """The verdict in a window of a run with these samples.

    `overloaded` is the reason why the target did not sustain the rate, see `overload`.
    """
    rate = arrival_rate(samples, window)
    return judge(slo, Requests.of(samples_in(samples, window), rate), overloaded)


def probe_result(search: Search, slo: Slo, samples: Samples, window: Window, level: float) -> Probe:
    """The result of a probe whose window is over; `samples` has all of its requests."""
    met = judge_window(slo, samples, window, overload(samples, window)).met
    return Probe(level, met, answer_rate(samples, window) if search.over == "rate" else None)
