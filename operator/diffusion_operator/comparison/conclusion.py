"""Conclusion of a Comparison: its table and its report."""

from diffusion_operator.api.observed import ObservedLoadTest
from diffusion_operator.api.state import RunState
from diffusion_operator.comparison.analysis.differences import meant
from diffusion_operator.comparison.analysis.results import Compared, Table, criterion, table
from diffusion_operator.comparison.analysis.separation import alpha_of_look
from diffusion_operator.comparison.measurements import Report
from diffusion_operator.comparison.report import comparison_report, report_name
from diffusion_operator.comparison.step import report_of
from diffusion_operator.comparison.work import Variant, Work
from diffusion_operator.kube.applier import Applier, NameTakenError
from diffusion_operator.kube.cache import Cache
from diffusion_operator.kube.client import ApiError, message_of
from diffusion_operator.kube.objects import Key
from diffusion_operator.kube.problems import is_refusal
from diffusion_operator.settings import Settings


class Conclusion:
    """Writer of the table and the final report."""

    def __init__(self, cache: Cache, applier: Applier, settings: Settings) -> None:
        self._cache = cache
        self._applier = applier
        self._settings = settings

    def table(self, work: Work) -> Table:
        """Table of all variants, by the ended runs."""
        names = list(work.variants)
        loads = {name: variant.load for name, variant in work.variants.items()}
        compared = Compared(
            criterion=criterion(loads[names[0]]),
            loads=loads,
            dollars_per_hour={name: self._price(work.variants[name]) for name in names},
            images={name: work.variants[name].images for name in names},
            may_differ=meant(variant.patch for variant in work.variants.values()),
            alpha=alpha_of_look(work.looks.index(work.repetitions)),
        )
        return table(names, work.counted, compared)

    def _price(self, variant: Variant) -> float | None:
        """Price of the variant's accelerators per hour in dollars, by the catalogue."""
        gpu = variant.service.get("gpu")
        if gpu is None:
            return None
        accelerator = self._settings.accelerators.get(gpu["type"])
        if accelerator is None or accelerator.price_per_hour is None:
            return None
        pods = int(variant.service.get("replicas") or 1)
        return float(accelerator.price_per_hour) * int(gpu.get("count") or 1) * pods

    async def write_report(self, work: Work, result: Table) -> str:
        """Write the report unless it exists.

        Returns:
            The reason why it is not written, or ``""``.
        """
        place = Key("ConfigMap", work.namespace, report_name(work.comparison))
        # Reports of LoadTests that are deleted after the end stay in this report.
        if work.is_told and self._cache.get(place) is not None:
            return ""
        loads = self._loads(work)
        document = comparison_report(work.comparison, work.kept, result, loads)
        try:
            await self._applier.apply(work.comparison, [document])
        except NameTakenError as error:
            return f"its report is not written: {error}; "
        except ApiError as error:
            if not is_refusal(error):
                raise
            return f"its report is not written: {message_of(error)}; "
        return ""

    def _loads(self, work: Work) -> dict[str, Report]:
        """Runner's report of each existing LoadTest."""
        tests = (
            self._cache.get(Key("LoadTest", work.namespace, run.load_test)) for run in work.runs
        )
        return {
            test["metadata"]["name"]: report_of(self._cache, test)
            for test in tests
            if test is not None and ObservedLoadTest.of(test).state is not RunState.UNKNOWN
        }
