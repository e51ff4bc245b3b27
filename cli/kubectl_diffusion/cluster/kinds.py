"""The kinds of resources that the plugin reads."""

from dataclasses import dataclass

GROUP, VERSION = "diffusion.dev", "v1alpha1"


@dataclass(frozen=True)
class Kind:
    """One kind by all its names, as its CustomResourceDefinition lists them."""

    name: str
    plural: str
    short: str

    @property
    def names(self) -> frozenset[str]:
        """The names that kubectl takes for the kind, in lower case."""
        return frozenset(
            {self.short, self.name.lower(), self.plural, f"{self.plural}.{GROUP}"},
        )


DIFFUSION_SERVICE = Kind("DiffusionService", "diffusionservices", "dsvc")
LOAD_TEST = Kind("LoadTest", "loadtests", "lt")
COMPARISON = Kind("Comparison", "comparisons", "cmp")
