"""What a Comparison's report shows: the operator's JSON, and the verdicts beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubectl_diffusion.cluster.kinds import COMPARISON, GROUP, VERSION
from kubectl_diffusion.documents.comparison_report import ComparisonReport
from kubectl_diffusion.documents.reader import parsed
from kubectl_diffusion.report.rendering.verdicts import Verdict, verdicts_of

_ORDER = ("Complete", "Failed", "Comparable")


@dataclass(frozen=True)
class ComparisonDocument:
    """All that a page or a table is made of."""

    report: ComparisonReport
    verdicts: tuple[Verdict, ...]

    @property
    def title(self) -> str:
        return f"{self.report.namespace}/{self.report.name}"

    @property
    def manifest(self) -> dict[str, Any]:
        """What to apply to repeat it; its prompts are left out."""
        return {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": COMPARISON.name,
            "metadata": {"name": self.report.name},
            "spec": self.report.spec,
        }

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants, the best first: their order wherever they are shown."""
        return tuple(row.variant for row in self.report.results)

    def facts(self) -> list[tuple[str, list[str], bool]]:
        """What answered: each fact, its values by variant, and whether those differ."""
        seen: dict[str, dict[str, list[str]]] = {}
        for run in self.report.runs:
            for fact, value in run.fingerprint.items():
                values = seen.setdefault(fact, {}).setdefault(run.variant, [])
                if value not in values:
                    values.append(value)
        found = []
        for fact in sorted(seen):
            values = [", ".join(seen[fact].get(variant, ["-"])) for variant in self.variants]
            found.append((fact, values, len({*values} - {"-"}) > 1))
        return found


def parse(text: str) -> ComparisonReport:
    """The operator's JSON. Raises ``PluginError`` for one that isn't such a report of version 1."""
    return parsed(ComparisonReport, text, "report of a comparison")


def of_file(text: str, _: str) -> ComparisonDocument:
    """A report on its own; it tells by itself whether its variants may be compared."""
    report = parse(text)
    if report.differences:
        said = f"the variants also differ in {'; '.join(report.differences)}"
        verdict = Verdict("Comparable", "False", "Unlike", said)
    else:
        said = "the variants differ in nothing but what they were meant to"
        verdict = Verdict("Comparable", "True", "Alike", said)
    return ComparisonDocument(report, (verdict,))


def of_comparison(comparison: Mapping[str, Any], text: str) -> ComparisonDocument:
    """The report of a Comparison, judged by its status."""
    return ComparisonDocument(parse(text), verdicts_of(comparison["status"], _ORDER))
