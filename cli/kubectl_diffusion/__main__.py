"""``kubectl diffusion``: commands for load tests and services."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from kubectl_diffusion.cluster.client import Cluster
from kubectl_diffusion.predict.command import predict
from kubectl_diffusion.report.command import SUFFIXES, report
from kubectl_diffusion.run.command import run
from kubectl_diffusion.terminal.durations import seconds
from kubectl_diffusion.terminal.errors import PluginError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns 0, 1 after an error, 130 after an interrupt, or a run's verdict."""
    options = parser().parse_args(arguments)
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)

    def connect() -> Cluster:
        return Cluster(options.kubeconfig, options.context, options.namespace)

    try:
        if options.command == "report":
            report(options, connect, console)
        elif options.command == "run":
            return run(options, connect, console)
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
    """The parser of the command line."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("-n", "--namespace", help="namespace (default: the context's own)")
    common.add_argument("--context", help="context of the kubeconfig (default: the current one)")
    common.add_argument("--kubeconfig", help="path of the kubeconfig (default: kubectl's own)")
    plugin = argparse.ArgumentParser(prog="kubectl diffusion", description=__doc__)
    commands = plugin.add_subparsers(dest="command", required=True)

    report_parser = commands.add_parser(
        "report",
        parents=[common],
        help="the report of a load test or a comparison, as a page or a table",
    )
    report_parser.add_argument("test", help="lt/NAME, cmp/NAME, or the path of a report.json")
    report_parser.add_argument("--open", action="store_true", help="open the page in a browser")
    report_parser.add_argument(
        "-o",
        "--output",
        type=Path,
        help="file to write, - for the terminal (default: NAME-report.html)",
    )
    report_parser.add_argument("--format", choices=tuple(SUFFIXES), default="html")

    run_parser = commands.add_parser(
        "run",
        parents=[common],
        help="a run of a load test or a comparison, with its verdict as the exit code",
        epilog="Exit codes with --wait: 0 within the SLO, 3 SLO missed, 4 figures not valid, "
        "5 run failed, 6 no verdict in time, 7 slower than its baseline; 1 any other error.",
    )
    run_parser.add_argument("test", help="lt/NAME or cmp/NAME")
    run_parser.add_argument("--wait", action="store_true", help="wait for this run's verdict")
    run_parser.add_argument(
        "--timeout", type=seconds, default="1h", help="the longest wait, such as 90s or 1h30m (1h)"
    )
    run_parser.add_argument("--junit", type=Path, help="JUnit file to write")
    run_parser.add_argument("--markdown", type=Path, help="Markdown file to write")

    predict_parser = commands.add_parser(
        "predict", parents=[common], help="an image from a service"
    )
    predict_parser.add_argument("name", help="name of the DiffusionService")
    predict_parser.add_argument("prompt", help="description of the image")
    predict_parser.add_argument(
        "-o", "--output", type=Path, default=Path("out.png"), help="(%(default)s)"
    )
    predict_parser.add_argument("--negative-prompt", help="description of what to avoid")
    predict_parser.add_argument("--steps", type=int, help="denoising steps")
    predict_parser.add_argument("--guidance-scale", type=float, help="weight of the prompt")
    predict_parser.add_argument("--width", type=int, help="pixels, a multiple of 8")
    predict_parser.add_argument("--height", type=int, help="pixels, a multiple of 8")
    predict_parser.add_argument("--seed", type=int, help="the same seed gives the same image")
    predict_parser.add_argument(
        "--images", type=int, help="number of images; their files are numbered"
    )
    predict_parser.add_argument(
        "--api-key-file",
        type=Path,
        help="file with an API key (default: $DIFFUSION_API_KEY, then the service's Secret)",
    )
    return plugin


if __name__ == "__main__":
    sys.exit(main())
