"""Entry point: ``python -m diffusion_operator`` runs the operator until a signal stops it."""

import argparse
import asyncio
import gc
import logging

import kopf
import uvloop

import diffusion_operator.manager.handlers  # noqa: F401 - its import registers the handlers with kopf
from diffusion_operator.kube import metrics
from diffusion_operator.kube.client import Cluster
from diffusion_operator.manager.startup import until_one_returns, watchable

logger = logging.getLogger(__name__)


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
    desired = options.namespaces or ()
    cluster = await Cluster.connect()
    namespaces = await watchable(cluster, desired)
    stop = asyncio.Event()
    away = asyncio.create_task(_stop_at_return(cluster, set(desired) - set(namespaces), stop))
    await kopf.operator(
        clusterwide=not desired,
        namespaces=namespaces,
        standalone=True,
        liveness_endpoint=options.liveness,
        memo=kopf.Memo(lease=options.lease, stop=stop, namespaces=namespaces),
        stop_flag=stop,
    )
    away.cancel()
    await cluster.close()


async def _stop_at_return(cluster: Cluster, away: set[str], stop: asyncio.Event) -> None:
    """Stop the operator once a namespace that was left out can be watched."""
    if away:
        namespace = await until_one_returns(cluster, sorted(away))
        logger.warning("namespace %s is there: restarting to serve it", namespace)
        stop.set()


if __name__ == "__main__":
    main()
