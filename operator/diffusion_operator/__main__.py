"""Entry point: ``python -m diffusion_operator`` runs the operator until a signal stops it."""

import argparse
import asyncio
import gc
import logging

import kopf
import uvloop

import diffusion_operator.manager.handlers  # noqa: F401 - its import registers the handlers with kopf
from diffusion_operator.kube import metrics


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
        help="watch this namespace only; repeat it for several",
    )
    parser.add_argument(
        "--metrics-port",
        type=int,
        default=0,
        metavar="PORT",
        help="serve metrics on this port; 0 disables them",
    )
    parser.add_argument("--verbose", action="store_true", help="log kopf's own decisions too")
    options = parser.parse_args()
    kopf.configure(verbose=options.verbose, log_format=kopf.LogFormat.JSON)
    if not options.verbose:
        # kopf logs every event and aiohttp every probe; neither needs attention.
        for chatty in ("kopf.objects", "aiohttp.access"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
    if options.metrics_port:
        metrics.serve(options.metrics_port)
    _collect_seldom()
    uvloop.run(_run(options))


def _collect_seldom() -> None:
    """Collect garbage less often among long-lived objects.

    Nearly all of the operator's objects are JSON without reference cycles, so reference counting
    frees most of them and a collection of the caches frees nothing.
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
