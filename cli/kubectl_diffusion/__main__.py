"""``kubectl diffusion``: what one does with load tests and services from a terminal."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from kubectl_diffusion.cluster.client import Cluster
from kubectl_diffusion.predict.command import predict
from kubectl_diffusion.report.command import SUFFIXES, report
from kubectl_diffusion.terminal.errors import PluginError


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when it is done, 1 when it can't be, 130 when it was interrupted."""
    options = parser().parse_args(arguments)
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)

    def connect() -> Cluster:
        return Cluster(options.kubeconfig, options.context, options.namespace)

    try:
        if options.command == "report":
            report(options, connect, console)
        else:
            predict(options, connect(), console)
    except PluginError as error:
        console.print("error:", style="bold red", end=" ")
        console.print(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("-n", "--namespace", help="namespace; else the context's own")
    common.add_argument("--context", help="context of the kubeconfig; else the current one")
    common.add_argument("--kubeconfig", help="path of the kubeconfig; else as kubectl finds it")
    found = argparse.ArgumentParser(prog="kubectl diffusion", description=__doc__)
    commands = found.add_subparsers(dest="command", required=True)

    shown = commands.add_parser(
        "report",
        parents=[common],
        help="the report of a load test or a comparison, as a page or a table",
    )
    shown.add_argument("test", help="lt/NAME, cmp/NAME, or the path of a report.json")
    shown.add_argument("--open", action="store_true", help="open the page in a browser")
    shown.add_argument(
        "-o", "--output", type=Path, help="file to write, - for the terminal; else NAME-report.html"
    )
    shown.add_argument("--format", choices=tuple(SUFFIXES), default="html")

    drawn = commands.add_parser("predict", parents=[common], help="an image from a service")
    drawn.add_argument("name", help="name of the DiffusionService")
    drawn.add_argument("prompt", help="what the image should show")
    drawn.add_argument("-o", "--output", type=Path, default=Path("out.png"), help="(%(default)s)")
    drawn.add_argument("--negative-prompt", help="what it should not show")
    drawn.add_argument("--steps", type=int, help="denoising steps")
    drawn.add_argument("--guidance-scale", type=float, help="how closely to follow the prompt")
    drawn.add_argument("--width", type=int, help="pixels, a multiple of 8")
    drawn.add_argument("--height", type=int, help="pixels, a multiple of 8")
    drawn.add_argument("--seed", type=int, help="the same seed gives the same image")
    drawn.add_argument("--images", type=int, help="how many; they are numbered")
    drawn.add_argument(
        "--api-key-file",
        type=Path,
        help="file with an API key; else $DIFFUSION_API_KEY, else the service's own Secret",
    )
    return found


if __name__ == "__main__":
    sys.exit(main())
