"""Test environments that are old enough to be left over."""

from datetime import UTC, datetime
from typing import Any

from left_over import old_branches, old_clusters

BEFORE = datetime(2026, 11, 30, 12, tzinfo=UTC)


def state(name: str, hour: int) -> dict[str, str]:
    return {"name": name, "update_time": f"2026-11-30T{hour:02}:00:00+0000"}


def cluster(name: str, created: str, **labels: str) -> dict[str, Any]:
    return {
        "name": name,
        "location": "us-central1-a",
        "createTime": created,
        "resourceLabels": labels,
    }


def test_a_branch_is_the_folder_of_its_old_state() -> None:
    objects = [
        state("test/feature/faster-vae/default.tfstate", 6),
        state("test/new/default.tfstate", 13),
        state("test/locked/default.tflock", 6),
    ]
    assert old_branches(objects, BEFORE) == ["feature/faster-vae"]


def test_only_old_clusters_of_branches_are_deleted() -> None:
    clusters = [
        cluster("t-old", "2026-11-30T06:00:00+00:00", environment="test"),
        cluster("t-new", "2026-11-30T13:00:00+00:00", environment="test"),
        cluster("prod", "2026-01-01T06:00:00+00:00", environment="prod"),
        {"name": "other", "location": "x", "createTime": "2026-01-01T06:00:00+00:00"},
    ]
    assert old_clusters(clusters, BEFORE) == [("t-old", "us-central1-a")]
