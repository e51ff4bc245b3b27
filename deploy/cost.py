"""The cost of the study's set-up on GKE: per hour, and of 1,000 images at the study's rates.

    python3 deploy/cost.py            prints the tables of docs/cost.md

All numbers are decimals; money is in US dollars, rates are in images a second.
"""

import sys
from dataclasses import dataclass
from decimal import Decimal

HOURS_A_MONTH = 730
"""Google's own number, for prices by the month."""


@dataclass(frozen=True)
class Part:
    """A number of equal parts of the set-up, and the price of one in an hour."""

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
SPOT_NODE = Part("g2-standard-4 on Spot, one NVIDIA L4 each", 3, Decimal("0.424056"))
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
    """Dollars for 1,000 images at `rate` images a second.

    Raises:
        ValueError: The rate is 0 or less.
    """
    if rate <= 0:
        raise ValueError("a set-up that generates no images has no price for them")
    return hourly_price / (rate * 3600) * 1000


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |\n"


def parts_table() -> str:
    """The parts of the set-up at on-demand prices, and their sum."""
    parts = (GPU_NODE, *AROUND)
    rows = [_row("part", "count", "$ an hour each", "$ an hour"), _row("---", *["---:"] * 3)]
    rows += [
        _row(part.what, str(part.count), f"{part.price:.4f}", f"{part.hourly:.4f}")
        for part in parts
    ]
    return "".join([*rows, _row("**all**", "", "", f"**{hourly(parts):.4f}**")])


def images_table() -> str:
    """The cost of 1,000 images at each rate: GPU nodes alone, everything, everything on Spot."""
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
