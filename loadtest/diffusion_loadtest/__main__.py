"""`python -m diffusion_loadtest`: runs the load plan, publishes progress and report.

The exit status is 0 once the report is published, whatever its verdicts; 2 for a plan that cannot
be carried out, and 1 if the report could not be published. A worker exits with 0 once its master
ends the run, and with 1 if it lost its master.
"""

import argparse
import json
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path

from diffusion_loadtest.load.stop_signals import hold_stop_signals
from diffusion_loadtest.plan.load_plan import LoadPlan
from diffusion_loadtest.plan.prompts import prompts_of
from diffusion_loadtest.plan.reader import PLAN_VARIABLE, PlanError, api_key, load_plan

ROLE_VARIABLE = "DIFFUSION_LOAD_ROLE"
MASTER_VARIABLE = "DIFFUSION_LOAD_MASTER"
MASTER_PORT = 5557
"""Locust's own default."""
TERMINATION_LOG = Path("/dev/termination-log")


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    if options.schema:
        from diffusion_loadtest.report.schema import report_schema  # noqa: PLC0415  a run doesn't need it

        print(report_schema(), end="")
        return 0
    try:
        plan = load_plan(options.plan)
        _check_role(options.role, plan)
        # a master sends no request
        prompts = () if options.role == "master" else prompts_of(plan.prompts)
        key = api_key(plan.auth)
        master = _address(options.master) if options.role == "worker" else None
    except PlanError as error:
        _report_error("InvalidPlan", str(error))
        return 2
    _raise_file_limit()
    # a signal that arrives while Locust is imported waits until the run handles it
    hold_stop_signals()
    if master is not None:
        return _work(plan, prompts, key, master)
    return _run(plan, prompts, key, options)


def _work(
    plan: LoadPlan, prompts: tuple[str, ...], key: str | None, master: tuple[str, int]
) -> int:
    # a late import, since importing Locust replaces the sockets of the whole process
    from diffusion_loadtest.load.worker import Worker  # noqa: PLC0415

    if Worker(plan, prompts, key, master).serve():
        return 0
    _report_error(
        "MasterLost",
        f"The master {master[0]}:{master[1]} is unreachable, or a signal ended this worker.",
    )
    return 1


def _run(
    plan: LoadPlan, prompts: tuple[str, ...], key: str | None, options: argparse.Namespace
) -> int:
    from diffusion_loadtest.load.run import (  # noqa: PLC0415
        NotPublishedError,
        Run,
        executor_of,
        sinks_of,
    )

    port = options.port if options.role == "master" else None
    executor = executor_of(plan, prompts, key, port)
    try:
        Run(plan, executor, sinks_of(plan, options.out), key).execute(options.wait)
    except NotPublishedError as error:
        figures = {"requests", "failures", "requests_per_second", "p50", "p95", "p99"}
        _report_error(
            "ReportNotPublished",
            f"The report could not be published: {error}",
            summary=error.summary.model_dump(by_alias=True, include=figures),
        )
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m diffusion_loadtest", description=__doc__)
    parser.add_argument(
        "--plan", type=Path, metavar="FILE", help=f"the load plan (default: ${PLAN_VARIABLE})"
    )
    parser.add_argument(
        "--role",
        choices=("alone", "master", "worker"),
        default=os.environ.get(ROLE_VARIABLE, "alone"),
        help=f"the only process of the load, or one of several (default: ${ROLE_VARIABLE})",
    )
    parser.add_argument(
        "--master",
        metavar="HOST[:PORT]",
        default=os.environ.get(MASTER_VARIABLE),
        help=f"a worker's master (default: ${MASTER_VARIABLE})",
    )
    parser.add_argument(
        "--port", type=int, default=MASTER_PORT, help="a master's port (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for progress.json and report.json"
    )
    parser.add_argument(
        "--wait",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="limit of the wait for a ready target (default: %(default)s)",
    )
    parser.add_argument("--schema", action="store_true", help="print the report's JSON schema")
    return parser


def _check_role(role: str, plan: LoadPlan) -> None:
    """Raises PlanError if plan and role contradict each other."""
    if role == "alone" and plan.workers > 1:
        raise PlanError(
            f"workers is {plan.workers}: start one process with --role master, "
            "and as many with --role worker --master HOST."
        )
    if role != "alone" and plan.workers == 1:
        raise PlanError(f"workers is 1, which needs no {role}: leave the role out.")


def _address(master: str | None) -> tuple[str, int]:
    host, _, port = (master or "").partition(":")
    if not host or (port and not port.isdigit()):
        raise PlanError(
            f"A worker needs its master: write --master HOST:PORT or set {MASTER_VARIABLE}."
        )
    return host, int(port or MASTER_PORT)


def _report_error(reason: str, message: str, **more: object) -> None:
    """Writes to stderr and, in a pod, to the file that Kubernetes shows in the pod's status."""
    text = json.dumps({"reason": reason, "message": message, **more}, ensure_ascii=False)
    print(text, file=sys.stderr)
    path = Path(os.environ.get("TERMINATION_LOG", TERMINATION_LOG))
    with suppress(OSError):
        if path.exists():  # only the kubelet creates the file
            path.write_text(text, encoding="utf-8")


def _raise_file_limit() -> None:
    """Raises the limit of open files: each user holds a connection, and 1024 is common."""
    import resource  # noqa: PLC0415  not on every system that can print a schema

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 1 << 20), hard))


if __name__ == "__main__":
    sys.exit(main())
