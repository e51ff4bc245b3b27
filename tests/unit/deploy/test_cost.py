"""The cost of images."""

from decimal import Decimal
from pathlib import Path

import pytest
import yaml

import cost

ROOT = Path(__file__).parents[3]


def test_1000_images_at_one_a_second_take_1000_of_3600_seconds() -> None:
    assert cost.per_thousand(Decimal("3.60"), Decimal(1)) == Decimal("1.00")


def test_twice_the_rate_is_half_the_price() -> None:
    one, two = (cost.per_thousand(Decimal("2.12"), Decimal(rate)) for rate in (3, 6))
    assert abs(one - 2 * two) < Decimal("1e-20")


def test_no_images_have_no_price() -> None:
    with pytest.raises(ValueError, match="generates no images"):
        cost.per_thousand(Decimal(1), Decimal(0))


def test_an_hour_is_the_sum_of_its_parts() -> None:
    parts = (cost.Part("a", 3, Decimal("0.5")), cost.Part("b", 1, Decimal("0.25")))
    assert cost.hourly(parts) == Decimal("1.75")


def test_the_documentation_has_the_tables_of_the_program() -> None:
    page = (ROOT / "docs" / "cost.md").read_text()
    assert cost.parts_table() in page
    assert cost.idle_table() in page
    assert cost.once_table() in page
    assert cost.images_table() in page


def test_without_gpu_nodes_only_the_rest_costs() -> None:
    none, three = cost.around(0), cost.around(3)
    assert three == cost.AROUND
    assert cost.hourly(none) < cost.hourly(three)
    assert f"| 0 | {cost.hourly(none):.4f} |" in cost.idle_table()


def test_all_nodes_idle_cost_as_much_as_busy_ones() -> None:
    busy = cost.hourly((cost.GPU_NODE, *cost.AROUND))
    assert f"| {cost.GPU_NODE.count} | {busy:.4f} |" in cost.idle_table()


def test_the_operators_catalogue_has_the_same_price_for_an_l4() -> None:
    values = yaml.safe_load((ROOT / "deploy" / "chart" / "values.yaml").read_text())
    assert Decimal(values["accelerators"]["nvidia-l4"]["pricePerHour"]) == round(
        cost.GPU_NODE.price, 2
    )
