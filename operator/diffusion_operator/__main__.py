"""``python -m diffusion_operator``: runs the operator until it is told to stop."""

import argparse
import asyncio
import gc
import logging

import kopf
import uvloop

import diffusion_operator.handlers  # noqa: F401 - its import registers the handlers with kopf
from diffusion_operator import metrics


def main() -> None:
    parser = argparse.ArgumentParser(prog="diffusion_operator", description=__doc__)
    parser.add_argument("--liveness", default="http://0.0.0.0:8080/healthz", metavar="URL")
    parser.add_argument(
        "--lease",
        metavar="NAMESPACE/NAME",
        help="write only while holding this Lease; without it there must be one operator alone",
    )
    parser.add_argument(
        "--namespace",
        action="append",
        dest="namespaces",
        metavar="NAME",
        help="look after this namespace only; may be given several times",
    )
    parser.add_argument(
        "--metrics-port",
        type=int,
        default=0,
        metavar="PORT",
        help="answer Prometheus on this port; 0 for not at all",
    )
    parser.add_argument("--verbose", action="store_true", help="log kopf's own decisions too")
    options = parser.parse_args()
    kopf.configure(verbose=options.verbose, log_format=kopf.LogFormat.JSON)
    if not options.verbose:
        # kopf tells of every event of every object, aiohttp of every probe; neither is news.
        for chatty in ("kopf.objects", "aiohttp.access"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
    if options.metrics_port:
        metrics.serve(options.metrics_port)
    _collect_seldom()
    uvloop.run(_run(options))


def _collect_seldom() -> None:
    """Have the garbage collector look through what is kept less often.

    Nearly all that is made is JSON: most of it goes without the collector, and what the indices
    keep has no cycles to be found, however often it is looked through.
    """
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


async def _run(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    await kopf.operator(
        clusterwide=not options.namespaces,
        namespaces=options.namespaces or (),
        standalone=True,
        liveness_endpoint=options.liveness,
        memo=kopf.Memo(lease=options.lease, stop=stop, namespaces=options.namespaces or ()),
        stop_flag=stop,
    )


if __name__ == "__main__":
    main()
