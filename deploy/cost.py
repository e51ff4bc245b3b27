"""The cost of the study's set-up on GKE: per hour, and of 1,000 images at the study's rates.

    python3 deploy/cost.py            prints the tables of docs/cost.md

All numbers are decimals; money is in US dollars, rates are in images a second.
"""

import sys
from dataclasses import dataclass, replace
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
# Once for each node that starts, or for each commit that changes images.
MODEL_GIB = 4
IMAGES = 5
NAT_GIB = Part("the GiB through Cloud NAT", MODEL_GIB, Decimal("0.045"))
SCAN = Part("the image that is scanned", IMAGES, Decimal("0.26"))
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


def around(gpu_nodes: int) -> tuple[Part, ...]:
    """The parts besides the machines with GPUs, with this number of such nodes."""
    disks, *rest = AROUND
    sized = [replace(disks, count=gpu_nodes)]
    sized += [
        replace(part, count=1 + gpu_nodes) if part.what == "Cloud NAT, a node" else part
        for part in rest
    ]
    return tuple(sized)


def idle_table() -> str:
    """The cost without any load, by the nodes that stay: min_gpu_nodes, or services never idle."""
    rows = [_row("GPU nodes that stay", "$ an hour", "$ a month"), _row("---:", "---:", "---:")]
    for nodes in range(GPU_NODE.count + 1):
        price = hourly((replace(GPU_NODE, count=nodes), *around(nodes)))
        rows.append(_row(str(nodes), f"{price:.4f}", f"{price * HOURS_A_MONTH:,.0f}"))
    return "".join(rows)


def once_table() -> str:
    """The cost of single events: a model's download by a new pod, and the scans of new images."""
    rows = [_row("event", "count", "$ each", "$"), _row("---", *["---:"] * 3)]
    for event, part in (
        ("a pod downloads the model", NAT_GIB),
        ("a commit changes all images", SCAN),
    ):
        rows.append(
            _row(f"{event}, by {part.what}", str(part.count), f"{part.price}", f"{part.hourly:.2f}")
        )
    return "".join(rows)


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
    sys.stdout.write(f"{parts_table()}\n{idle_table()}\n{once_table()}\n{images_table()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
