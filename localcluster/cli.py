"""The command line. Results go to stdout, progress and errors to stderr."""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence

from localcluster import adoption, kind, programs
from localcluster.console import Progress
from localcluster.context import ContextCluster
from localcluster.errors import LocalClusterError
from localcluster.kind import KindCluster
from localcluster.local import LocalCluster
from localcluster.paths import Cache, ClusterPaths
from localcluster.provider import Provider
from localcluster.record import Record, locked

DEFAULT_NAME = "diffusion"
_TOOLS = {"helm": programs.HELM, "kubectl": programs.NODE}


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Runs a command; the exit code is 0, or 1 with a sentence on stderr."""
    arguments = _parser().parse_args(argv)
    progress = Progress()
    try:
        _run(arguments, environ, progress)
    except LocalClusterError as error:
        print(f"localcluster: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def choose(
    name: str,
    *,
    context: str | None,
    registry: str | None,
    control_plane_only: bool,
    cache: Cache,
    progress: Progress,
) -> Provider:
    """The cluster that a command acts on.

    The order is: the cluster of a named context, an existing local cluster of that name, kind's
    cluster if kind is usable, a new local cluster.
    """
    if context is not None:
        kubectl = tool("kubectl", cache, progress)
        return ContextCluster(context, registry, kubectl, cache, progress)
    paths = cache.cluster(name)
    if Record.load(paths) is None and not control_plane_only and kind.usable():
        return KindCluster(paths, progress)
    return LocalCluster(paths, progress)


def tool(name: str, cache: Cache, progress: Progress) -> str:
    """The path of helm or kubectl: the machine's own, or one that is built from source."""
    installed = shutil.which(name)
    return installed or str(programs.built(_TOOLS[name], cache, progress) / name)


def _adopt(paths: ClusterPaths, progress: Progress) -> None:
    """Gives a cluster without images those of another cluster on this machine."""
    with locked(paths, progress):
        source = adoption.adopt(paths)
    if source is not None:
        progress.say(f"adopted the images of cluster {source.name}")


def _run(arguments: argparse.Namespace, environ: Mapping[str, str], progress: Progress) -> None:
    cache = Cache.of(environ)
    given = getattr(arguments, "context", None)
    context = environ.get("CONTEXT") if given is None else given
    if arguments.command in {"tool", "tidy", "adopt"}:
        _before_a_cluster(arguments, context, cache, progress)
        return
    cluster = choose(
        arguments.name,
        context=context,
        registry=arguments.registry or environ.get("REGISTRY"),
        control_plane_only=getattr(arguments, "control_plane_only", False),
        cache=cache,
        progress=progress,
    )
    match arguments.command:
        case "up":
            cluster.up(control_plane_only=arguments.control_plane_only)
            progress.say(f"export KUBECONFIG={cluster.kubeconfig()}")
        case "down":
            cluster.down(purge=arguments.purge)
        case "load":
            for name in cluster.load(arguments.images):
                print(name)
        case "kubeconfig":
            print(_existing_kubeconfig(cluster))
        case "status":
            _show(cluster, as_json=arguments.json)
        case "restart":
            if not isinstance(cluster, LocalCluster):
                raise LocalClusterError("Only the components of a local cluster can be restarted.")
            cluster.restart(arguments.component)


def _before_a_cluster(
    arguments: argparse.Namespace, context: str | None, cache: Cache, progress: Progress
) -> None:
    """Runs a command that needs no cluster."""
    if arguments.command == "adopt":
        if not context:
            _adopt(cache.cluster(arguments.name), progress)
    elif arguments.command == "tool":
        print(tool(arguments.tool, cache, progress))
    elif not programs.tidy(cache):
        progress.say("Go's caches stay, because a build is running and still needs them")


def _existing_kubeconfig(cluster: Provider) -> str:
    file = cluster.kubeconfig()
    if not file.exists():
        raise LocalClusterError(f"There is no {file}: start the cluster with `up`.")
    return str(file)


def _show(cluster: Provider, *, as_json: bool) -> None:
    status = cluster.status()
    if as_json:
        print(json.dumps(status, indent=2))
        return
    for key, value in status.items():
        if isinstance(value, dict):
            for name, state in value.items():
                running = "running" if state["running"] else f"ended with {state['lastExit']}"
                print(f"  {name}: {running}, started {state['starts']} times")
        else:
            print(f"{key}: {value}")


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--name", default=DEFAULT_NAME, help=f"the cluster's name (default: {DEFAULT_NAME})"
    )
    common.add_argument(
        "--context",
        help="use the cluster of this kubectl context instead (or the environment's CONTEXT)",
    )
    common.add_argument(
        "--registry",
        help="where to push images for the cluster of a context (or the environment's REGISTRY)",
    )
    parser = argparse.ArgumentParser(
        prog="python3 -m localcluster",
        description="A real Kubernetes on this machine: by kind if Docker runs, else by itself.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[common])

    up = command("up", "start the cluster and wait until it is ready; may be repeated")
    up.add_argument(
        "--control-plane-only",
        action="store_true",
        help="no node: objects are stored and controlled, pods never run; needs no root",
    )
    command("adopt", "before the first `up`: share image layers with another cluster here")
    down = command("down", "remove the cluster and everything in it")
    down.add_argument(
        "--purge", action="store_true", help="also remove the images kept for the next `up`"
    )
    load = command("load", "make images usable by pods and print the names to use")
    load.add_argument("images", nargs="+", metavar="IMAGE", help="a built image, or an archive")
    command("kubeconfig", "print the path of a kubeconfig for the cluster")
    status = command("status", "show the components and the places of their files")
    status.add_argument("--json", action="store_true")
    restart = command("restart", "kill one component, which starts again at once")
    restart.add_argument("component", metavar="COMPONENT", help="such as kube-apiserver")
    commands.add_parser("tidy", help="remove the build caches, which no built program needs")
    tools = commands.add_parser("tool", help="print the path of a tool, built if it is missing")
    tools.add_argument("tool", choices=sorted(_TOOLS))
    return parser
