"""``python bench``: runs every benchmark, prints the table, writes ``results.json``.

``python bench operator`` runs that part alone and writes no file. The exit code is 1 if a
measurement failed; the table has a line for each failure.
"""

import argparse
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import loadtest_operator
import loadtest_runner
from control_plane import ROOT, ControlPlane, control_plane
from figures import Figure, exit_code, save, table
from kubectl import Kubectl
from operator_alone import measure, measure_floor
from pretend_node import PretendNode
from serving.measure import measure as measure_serving

RESULTS = Path(__file__).parent / "results.json"


def install_crds(plane: ControlPlane) -> None:
    kubectl = [plane.kubectl, f"--kubeconfig={plane.kubeconfig}"]
    subprocess.run([*kubectl, "apply", "--server-side", "-f", ROOT / "crds"], check=True)
    subprocess.run([*kubectl, "wait", "--for=condition=Established", "crd", "--all"], check=True)


@contextmanager
def control_plane_with_room() -> Iterator[ControlPlane]:
    """A control plane with a node for the pods.

    Without a node, the scheduler tries all pods again whenever one is added.
    """
    with control_plane() as plane:
        install_crds(plane)
        node = PretendNode(Kubectl(plane.kubectl, plane.kubeconfig))
        try:
            yield plane
        finally:
            node.close()


def measure_operator() -> list[Figure]:
    with control_plane_with_room() as plane:
        floor = measure_floor(plane)
    with control_plane_with_room() as plane:
        return measure(plane, floor)


def measure_load_tests() -> list[Figure]:
    with control_plane() as plane:
        install_crds(plane)
        return loadtest_operator.measure(plane)


PARTS = {
    "operator": measure_operator,
    "loadtests": measure_load_tests,
    "runner": loadtest_runner.measure,
    "serving": measure_serving,
}


def _part(name: str) -> str:
    # argparse's own `choices` refuses the empty list of parts, which is allowed here.
    if name not in PARTS:
        raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(PARTS)}")
    return name


def chosen(arguments: Sequence[str] | None = None) -> list[str]:
    """The parts named on the command line, all of them if none is named."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    known = ", ".join(PARTS)
    parser.add_argument("part", nargs="*", type=_part, help=f"{known}; all if none is named")
    return parser.parse_args(arguments).part or list(PARTS)


def main() -> None:
    parts = chosen()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that child processes are ended
    figures = [figure for part in parts for figure in PARTS[part]()]
    print(table(figures))
    if parts == list(PARTS):
        save(figures, RESULTS)
    sys.exit(exit_code(figures))


if __name__ == "__main__":
    main()
