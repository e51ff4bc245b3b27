"""`python -m diffusion_loadtest`: run the load plan, publish progress and report.

Exits with 0 once the report is published, whatever it says of the target; with 2 if the plan
cannot be carried out, and with 1 if the report could not be published.
"""

import argparse
import json
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from .plan import PLAN_VARIABLE, PlanError, load_plan
from .prompts import prompts_of

TERMINATION_LOG = Path("/dev/termination-log")


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    if options.schema:
        from .schema import report_schema  # noqa: PLC0415  no run needs it

        print(report_schema(), end="")
        return 0
    try:
        plan = load_plan(options.plan)
        prompts = prompts_of(plan.prompts)
    except PlanError as error:
        _say_why("InvalidPlan", str(error))
        return 2
    _raise_file_limit()
    # one that comes while Locust is still being loaded waits until the run can answer it
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    # imported only now, since importing Locust replaces the sockets of the whole process
    from .run import run  # noqa: PLC0415

    if run(plan, prompts, options.out, options.wait):
        return 0
    _say_why("ReportNotPublished", "The report could not be published; its summary is in the log.")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m diffusion_loadtest", description=__doc__)
    parser.add_argument(
        "--plan", type=Path, metavar="FILE", help=f"the load plan; else that in ${PLAN_VARIABLE}"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where to write progress.json and report.json"
    )
    parser.add_argument(
        "--wait",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="how long to wait for the target to be ready (%(default)s)",
    )
    parser.add_argument("--schema", action="store_true", help="print the report's JSON schema")
    return parser


def _say_why(reason: str, message: str) -> None:
    """To stderr and, in a pod, to the file whose content Kubernetes shows in the pod's status."""
    text = json.dumps({"reason": reason, "message": message}, ensure_ascii=False)
    print(text, file=sys.stderr)
    path = Path(os.environ.get("TERMINATION_LOG", TERMINATION_LOG))
    with suppress(OSError):
        if path.exists():  # the kubelet makes it; anywhere else it is left alone
            path.write_text(text, encoding="utf-8")


def _raise_file_limit() -> None:
    """Each user holds a connection, and 1024 open files is a common default."""
    import resource  # noqa: PLC0415  not on every system that can print a schema

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 1 << 20), hard))


if __name__ == "__main__":
    sys.exit(main())
