"""What the study's set-up costs on GKE: an hour of it, and 1,000 images at the study's rates.

    python3 deploy/cost.py            prints the tables of docs/cost.md

Decimals throughout; money is US dollars, rates are images a second.
"""

import sys
from dataclasses import dataclass
from decimal import Decimal

HOURS_A_MONTH = 730
"""Google's own, for what is priced by the month."""


@dataclass(frozen=True)
class Part:
    """So many of something, at a price an hour each."""

    what: str
    count: int
    price: Decimal

    @property
    def hourly(self) -> Decimal:
        return self.count * self.price


def disk(gigabytes: int) -> Decimal:
    """A balanced persistent disk's price an hour."""
    return Decimal("0.10") * gigabytes / HOURS_A_MONTH


GPU_NODE = Part("g2-standard-4, one NVIDIA L4 each", 3, Decimal("0.706832276"))
SPOT_NODE = Part("the same as Spot", 3, Decimal("0.424056"))
AROUND = (
    Part("100 GB boot disk of each", 3, disk(100)),
    Part("e2-standard-4 for all else", 1, Decimal("0.13402284")),
    Part("50 GB boot disk of it", 1, disk(50)),
    Part("GKE's fee for the cluster", 1, Decimal("0.10")),
    Part("Cloud NAT, a node", 4, Decimal("0.0014")),
    Part("Cloud NAT's address", 1, Decimal("0.005")),
)
RATES = {
    "FastAPI": Decimal("0.9"),
    "Ray Serve": Decimal("4.3"),
    "LitServe": Decimal(6),
}
"""Requests a second that the study reports for three replicas; each is one image."""


def hourly(parts: tuple[Part, ...]) -> Decimal:
    return sum((part.hourly for part in parts), Decimal(0))


def per_thousand(hourly_price: Decimal, rate: Decimal) -> Decimal:
    """Dollars for 1,000 images at `rate` images a second. Raises ValueError for no images."""
    if rate <= 0:
        raise ValueError("a set-up that makes no images has no price for them")
    return hourly_price / (rate * 3600) * 1000


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |\n"


def parts_table() -> str:
    """The parts of the set-up, on demand, and what they come to."""
    parts = (GPU_NODE, *AROUND)
    rows = [_row("what", "how many", "$ an hour each", "$ an hour"), _row("---", *["---:"] * 3)]
    rows += [
        _row(part.what, str(part.count), f"{part.price:.4f}", f"{part.hourly:.4f}")
        for part in parts
    ]
    return "".join([*rows, _row("**all**", "", "", f"**{hourly(parts):.4f}**")])


def images_table() -> str:
    """1,000 images at each rate: of the GPU nodes alone, of everything, of everything on Spot."""
    alone = hourly((GPU_NODE,))
    whole = hourly((GPU_NODE, *AROUND))
    spot = hourly((SPOT_NODE, *AROUND))
    head = ("framework", "images/s", "images an hour", "GPU nodes alone", "everything", "on Spot")
    rows = [_row(*head), _row("---", *["---:"] * 5)]
    for name, rate in RATES.items():
        prices = [f"${per_thousand(price, rate):.3f}" for price in (alone, whole, spot)]
        rows.append(_row(name, str(rate), f"{rate * 3600:,.0f}", *prices))
    return "".join(rows)


def main() -> int:
    sys.stdout.write(f"{parts_table()}\n{images_table()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
