"""``python bench``: runs every benchmark, prints the table, writes ``results.json``."""

import subprocess
from pathlib import Path

import loadtest_operator
import loadtest_runner
from control_plane import ROOT, ControlPlane, control_plane
from figures import save, table
from operator_alone import measure, measure_floor
from serving.measure import measure as measure_serving

RESULTS = Path(__file__).parent / "results.json"


def install_crds(plane: ControlPlane) -> None:
    kubectl = [plane.kubectl, f"--kubeconfig={plane.kubeconfig}"]
    subprocess.run([*kubectl, "apply", "--server-side", "-f", ROOT / "crds"], check=True)
    subprocess.run([*kubectl, "wait", "--for=condition=Established", "crd", "--all"], check=True)


def main() -> None:
    with control_plane() as plane:
        install_crds(plane)
        floor = measure_floor(plane)
    with control_plane() as plane:
        install_crds(plane)
        figures = measure(plane, floor)
        figures += loadtest_operator.measure(plane)
    figures += loadtest_runner.measure()
    figures += measure_serving()
    print(table(figures))
    save(figures, RESULTS)


if __name__ == "__main__":
    main()
