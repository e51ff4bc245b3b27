"""``python bench``: runs every benchmark, prints the table, writes ``results.json``."""

import subprocess
import sys
from pathlib import Path

from control_plane import ROOT, control_plane
from figures import save, table
from operator_alone import measure

RESULTS = Path(__file__).parent / "results.json"


def main() -> int:
    with control_plane() as plane:
        kubectl = [plane.kubectl, f"--kubeconfig={plane.kubeconfig}"]
        subprocess.run([*kubectl, "apply", "--server-side", "-f", ROOT / "crds"], check=True)
        subprocess.run(
            [*kubectl, "wait", "--for=condition=Established", "crd", "--all"], check=True
        )
        figures = measure(plane)
    print(table(figures))
    save(figures, RESULTS)
    return 0 if all(figure.met is not False for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
