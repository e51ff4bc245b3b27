"""The content of a Comparison's report: the operator's JSON, and the verdicts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubectl_diffusion.cluster.kinds import COMPARISON, GROUP, VERSION
from kubectl_diffusion.documents.comparison_report import ComparisonReport
from kubectl_diffusion.documents.reader import parsed
from kubectl_diffusion.report.rendering.verdicts import Verdict, verdicts_of

VERDICTS = ("Complete", "Failed", "Comparable")
"""The conditions of a Comparison that are verdicts, in the order of the report."""


@dataclass(frozen=True)
class ComparisonDocument:
    """The content of a page or a table."""

    report: ComparisonReport
    verdicts: tuple[Verdict, ...]

    @property
    def title(self) -> str:
        return f"{self.report.namespace}/{self.report.name}"

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest that repeats the Comparison, without its prompts."""
        return {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": COMPARISON.name,
            "metadata": {"name": self.report.name},
            "spec": self.report.spec,
        }

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants, the best first, as in every table and chart."""
        return tuple(row.variant for row in self.report.results)

    def facts(self) -> list[tuple[str, list[str], bool]]:
        """The facts of the targets: name, values by variant, and whether the values differ."""
        by_fact: dict[str, dict[str, list[str]]] = {}
        for run in self.report.runs:
            for fact, value in run.fingerprint.items():
                values = by_fact.setdefault(fact, {}).setdefault(run.variant, [])
                if value not in values:
                    values.append(value)
        rows = []
        for fact in sorted(by_fact):
            values = [", ".join(by_fact[fact].get(variant, ["-"])) for variant in self.variants]
            rows.append((fact, values, len({*values} - {"-"}) > 1))
        return rows


def parse(text: str) -> ComparisonReport:
    """The operator's JSON. Raises ``PluginError`` for another document or version."""
    return parsed(ComparisonReport, text, "report of the comparison")


def of_file(text: str, _: str) -> ComparisonDocument:
    """A report from a file, with its own verdict on whether the variants are comparable."""
    report = parse(text)
    if report.differences:
        message = f"the variants also differ in {'; '.join(report.differences)}"
        verdict = Verdict("Comparable", "False", "Unlike", message)
    else:
        message = "the variants differ only in the fields of the study"
        verdict = Verdict("Comparable", "True", "Alike", message)
    return ComparisonDocument(report, (verdict,))


def of_comparison(comparison: Mapping[str, Any], text: str) -> ComparisonDocument:
    """The report of a Comparison, with the verdicts of its status."""
    return ComparisonDocument(parse(text), verdicts_of(comparison["status"], VERDICTS))
