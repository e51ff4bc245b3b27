"""What the runs of a Comparison tell together: its table and its report."""

from diffusion_operator.build.comparison_report import comparison_report, report_name
from diffusion_operator.cache import Cache
from diffusion_operator.cluster import ApiError, said_by
from diffusion_operator.compare.differences import meant
from diffusion_operator.compare.record import Report
from diffusion_operator.compare.results import Compared, Table, criterion, table
from diffusion_operator.objects import Key
from diffusion_operator.reconcile.compared import Variant, Work
from diffusion_operator.reconcile.problems import is_refusal
from diffusion_operator.reconcile.repetition import report_of
from diffusion_operator.reconcile.writes import NameTakenError, Writes
from diffusion_operator.settings import Settings


class Conclusion:
    """Draws up the table, and writes the report at the end."""

    def __init__(self, cache: Cache, writes: Writes, settings: Settings) -> None:
        self._cache = cache
        self._writes = writes
        self._settings = settings

    def table(self, work: Work) -> Table:
        """The rows of all variants, by the runs that have ended."""
        names = list(work.variants)
        loads = {name: variant.load for name, variant in work.variants.items()}
        compared = Compared(
            criterion=criterion(loads[names[0]]),
            loads=loads,
            dollars_per_hour={name: self._price(work.variants[name]) for name in names},
            images={name: work.variants[name].images for name in names},
            may_differ=meant(variant.patch for variant in work.variants.values()),
        )
        return table(names, work.runs, compared)

    def _price(self, variant: Variant) -> float | None:
        """What the variant's accelerators cost an hour, in dollars, by the catalogue."""
        gpu = variant.service.get("gpu")
        if gpu is None:
            return None
        accelerator = self._settings.accelerators.get(gpu["type"])
        if accelerator is None or accelerator.price_per_hour is None:
            return None
        pods = int(variant.service.get("replicas") or 1)
        return float(accelerator.price_per_hour) * int(gpu.get("count") or 1) * pods

    async def write_report(self, work: Work, found: Table) -> str:
        """Write the report where it isn't; returns what kept it from being written, if so."""
        place = Key("ConfigMap", work.namespace, report_name(work.comparison))
        # Load tests that are deleted after the end stay in the report.
        if work.is_told and self._cache.get(place) is not None:
            return ""
        loads = self._loads(work)
        document = comparison_report(work.comparison, work.runs, found, loads)
        try:
            await self._writes.children(work.comparison, [document])
        except NameTakenError as error:
            return f"its report is not written: {error}; "
        except ApiError as error:
            if not is_refusal(error):
                raise
            return f"its report is not written: {said_by(error)}; "
        return ""

    def _loads(self, work: Work) -> dict[str, Report]:
        """The runner's report of each LoadTest that still has one."""
        tests = (
            self._cache.get(Key("LoadTest", work.namespace, run.load_test)) for run in work.runs
        )
        return {
            test["metadata"]["name"]: report_of(self._cache, test)
            for test in tests
            if test is not None and (test.get("status") or {}).get("state")
        }
