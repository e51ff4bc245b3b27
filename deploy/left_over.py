"""Test environments that nobody destroyed, by their age.

    python3 deploy/left_over.py branches STATE_BUCKET HOURS    branches with an old state, as JSON
    python3 deploy/left_over.py clusters PROJECT HOURS         deletes old clusters of branches

An environment's state lies in gs://STATE_BUCKET/test/BRANCH/default.tfstate; its clusters have the
label environment=test. The program asks with gcloud.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

_STATE = "default.tfstate"


def old_branches(objects: Iterable[Mapping[str, Any]], before: datetime) -> list[str]:
    """The branches whose state was last written before a time."""
    branches = []
    for each in objects:
        folder, _, name = str(each["name"]).removeprefix("test/").rpartition("/")
        written = datetime.fromisoformat(each["update_time"])
        if name == _STATE and written < before:
            branches.append(folder)
    return sorted(branches)


def old_clusters(clusters: Iterable[Mapping[str, Any]], before: datetime) -> list[tuple[str, str]]:
    """Name and location of each cluster with the test label that was made before a time."""
    return sorted(
        (each["name"], each["location"])
        for each in clusters
        if each.get("resourceLabels", {}).get("environment") == "test"
        and datetime.fromisoformat(each["createTime"]) < before
    )


def _gcloud(*arguments: str) -> Any:
    command = ["gcloud", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 and "matched no objects" not in done.stderr:
        print(done.stderr, file=sys.stderr)
        done.check_returncode()
    return json.loads(done.stdout or "[]")


def _delete(project: str, name: str, location: str) -> None:
    print(f"deleting the cluster {name}", file=sys.stderr)
    command = ["gcloud", "container", "clusters", "delete", name, f"--location={location}"]
    subprocess.run([*command, f"--project={project}", "--quiet"], check=True, stdout=sys.stderr)


def main() -> int:
    if len(sys.argv) != 4 or sys.argv[1] not in {"branches", "clusters"}:  # noqa: PLR2004 - the program and its three arguments
        print(__doc__, file=sys.stderr)
        return 2
    what, place, hours = sys.argv[1:]
    before = datetime.now(UTC) - timedelta(hours=float(hours))
    try:
        if what == "branches":
            fields = "--format=json(name,update_time)"
            objects = _gcloud("storage", "objects", "list", f"gs://{place}/test/**", fields)
            print(json.dumps(old_branches(objects, before)))
            return 0
        clusters = _gcloud("container", "clusters", "list", f"--project={place}", "--format=json")
        for name, location in old_clusters(clusters, before):
            _delete(place, name, location)
    except subprocess.CalledProcessError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
