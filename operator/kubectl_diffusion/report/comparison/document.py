"""What a Comparison's report shows: the operator's JSON, and the verdicts beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from kubectl_diffusion.comparison import ComparisonReport
from kubectl_diffusion.errors import PluginError
from kubectl_diffusion.report.document import Verdict

_ORDER = ("Complete", "Failed", "Comparable")
_API_VERSION = "diffusion.dev/v1alpha1"


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
            "apiVersion": _API_VERSION,
            "kind": "Comparison",
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
    try:
        return ComparisonReport.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the document"
        raise PluginError(
            f"this is no report of a comparison that is known here ({place}: {first['msg']}): are "
            "the plugin and the operator of the same version?"
        ) from None


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
    said = {each["type"]: each for each in comparison["status"].get("conditions") or ()}
    verdicts = tuple(
        Verdict(kind, said[kind]["status"], said[kind]["reason"], said[kind]["message"])
        for kind in _ORDER
        if kind in said
    )
    return ComparisonDocument(parse(text), verdicts)
