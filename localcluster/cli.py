"""The command line."""

import argparse
import sys
from collections.abc import Sequence

from localcluster.console import Progress
from localcluster.errors import LocalClusterError
from localcluster.local import LocalCluster
from localcluster.paths import Cache


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="localcluster")
    parser.add_argument("command", choices=["up", "down", "kubeconfig"])
    parser.add_argument("--name", default="diffusion")
    parser.add_argument("--control-plane-only", action="store_true")
    arguments = parser.parse_args(argv)
    progress = Progress()
    try:
        paths = Cache.of().cluster(arguments.name)
        if arguments.command == "up":
            LocalCluster(paths, progress).up("control-plane" if arguments.control_plane_only else "node")
        elif arguments.command == "down":
            LocalCluster(paths, progress).down()
        print(paths.kubeconfig)
    except LocalClusterError as error:
        print(f"localcluster: {error}", file=sys.stderr)
        return 1
    return 0
