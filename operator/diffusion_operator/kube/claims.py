"""Claims: which release of the operator reconciles which namespaces.

Each leader renews a Lease that names its release: in each of its namespaces, or one for all in the
release's own. Of several claims on a namespace the first holds: one by name before one of all
namespaces, then the oldest. The others leave the namespace's objects alone until it expires.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import aiohttp

from diffusion_operator.kube.client import ApiError, Cluster, message_of
from diffusion_operator.kube.objects import MANAGED_BY, Object, labels_of

RENEW_SECONDS = 10.0
# Longer than a takeover within a release, whose new leader renews the same claim.
EXPIRY_SECONDS = 45.0
# Clocks of nodes differ by less; beyond it a claim that this process sees first has no owner.
MOST_SKEW = timedelta(minutes=5)
SCOPE_LABEL = "diffusion.dev/scope"
ALL, NAMED = "All", "Named"

logger = logging.getLogger(__name__)

Now = Callable[[], datetime]
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, order=True)
class Claim:
    """One release's claim; the smaller of two goes first."""

    is_of_all: bool
    made: str
    release: str
    """Namespace and name of the release's Lease."""
    namespace: str
    """Claimed namespace, where the claim is not one of all."""

    @classmethod
    def of(cls, lease: Mapping[str, Any]) -> "Claim":
        """Claim that a Lease holds."""
        meta = lease["metadata"]
        return cls(
            is_of_all=labels_of(lease).get(SCOPE_LABEL) == ALL,
            made=meta["creationTimestamp"],
            release=lease["spec"]["holderIdentity"],
            namespace=meta["namespace"],
        )

    def covers(self, namespace: str) -> bool:
        """Whether the claim is on that namespace."""
        return self.is_of_all or self.namespace == namespace


def claim_name(release: str) -> str:
    """Name of the Lease with the claim of a release (namespace and name of its own Lease)."""
    namespace, _, name = release.partition("/")
    return f"{name}.{namespace}.claim"


def claim_lease(release: str, namespaces: Sequence[str], now: datetime) -> list[Object]:
    """Leases with a release's claim; no ``namespaces`` means all."""
    scope = NAMED if namespaces else ALL
    return [
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": claim_name(release),
                "namespace": namespace,
                "labels": {**MANAGED_BY, SCOPE_LABEL: scope},
            },
            "spec": {
                "holderIdentity": release,
                "leaseDurationSeconds": int(EXPIRY_SECONDS),
                "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            },
        }
        for namespace in namespaces or [release.partition("/")[0]]
    ]


class Claims:
    """Claims of this release, and those of others that go before them."""

    def __init__(
        self,
        cluster: Cluster,
        release: str,
        namespaces: Sequence[str],
        *,
        now: Now = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """Prepare the claims.

        Args:
            cluster: Client of the API server.
            release: Namespace and name of the release's Lease.
            namespaces: The claimed namespaces; none means all.
            now: Time of the Leases.
            clock: Seconds that no change of the time affects.
            sleep: Pause between two renewals.
        """
        self._cluster = cluster
        self._release = release
        self._namespaces = namespaces
        self._now, self._clock, self._sleep = now, clock, sleep
        self._renewals: dict[str, tuple[str, float]] = {}
        """Renewal of each Lease by its uid, and the moment at which it was new."""
        self._task: asyncio.Task[None] | None = None
        self._own: list[Claim] = []
        self._others: list[Claim] = []

    def holder(self, namespace: str) -> str | None:
        """Release that holds the namespace instead of this one, if there is one."""
        own = min((each for each in self._own if each.covers(namespace)), default=None)
        others = (each for each in self._others if each.covers(namespace))
        first = min(others, default=None)
        return first.release if first is not None and own is not None and first < own else None

    def start(
        self,
        begin: Callable[[], None],
        on_change: Callable[[], None],
        on_failure: Callable[[], None],
    ) -> None:
        """Keep the claims from now on.

        Args:
            begin: Called once the claims of others are known.
            on_change: Called when a claim has come or gone since, this release's own included.
            on_failure: Called where a programming error ends the renewals.
        """

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled():
                logger.error("the claims' renewal ended, exiting", exc_info=task.exception())
                on_failure()

        self._task = asyncio.create_task(self.keep(begin, on_change))
        self._task.add_done_callback(ended)

    def stop(self) -> None:
        """Renew no more; the claims stay for the release's next leader, or expire."""
        if self._task is not None:
            self._task.cancel()

    async def keep(self, begin: Callable[[], None], on_change: Callable[[], None]) -> None:
        """Renew the claims for ever, with the callbacks of ``start``."""
        begun = False
        while True:
            before = self._own, self._others
            is_known = await self._renew()
            has_changed = (self._own, self._others) != before
            if has_changed:
                self._log_holders()
            if is_known and not begun:
                begun = True
                begin()
            elif has_changed:
                on_change()
            await self._sleep(RENEW_SECONDS if begun else 1.0)

    async def _renew(self) -> bool:
        """Renew the claims and list the others'; return whether that is done or never will be."""
        try:
            leases = claim_lease(self._release, self._namespaces, self._now())
            own = [Claim.of(await self._cluster.apply(lease)) for lease in leases]
            listed = [
                lease
                for namespace in self._namespaces or [""]
                async for _, page in self._cluster.pages("Lease", namespace)
                for lease in page
            ]
        except ApiError as error:
            logger.warning("other releases can't be noticed: %s", message_of(error))
            return error.status == HTTPStatus.FORBIDDEN
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            logger.warning("the claims can't be renewed: %s: %s", type(error).__name__, error)
            return False
        self._own = own
        self._others = sorted(Claim.of(each) for each in listed if self._is_alive(each))
        return True

    def _is_alive(self, lease: Object) -> bool:
        """Whether another release renews the claim of a Lease."""
        spec = lease["spec"]
        if SCOPE_LABEL not in labels_of(lease) or spec.get("holderIdentity") == self._release:
            return False
        uid, renewed = lease["metadata"]["uid"], spec["renewTime"]
        before, since = self._renewals.get(uid, ("", 0.0))
        if not before and self._now() - datetime.fromisoformat(renewed) > MOST_SKEW:
            since = self._clock() - EXPIRY_SECONDS
        elif before != renewed:
            since = self._clock()
        self._renewals[uid] = renewed, since
        return self._clock() - since < EXPIRY_SECONDS

    def _log_holders(self) -> None:
        """Log which release holds what this one would reconcile as well."""
        places = [(each, each.namespace if not each.is_of_all else "") for each in self._others]
        for other, place in places:
            # A claim of all namespaces concerns each of this release's own.
            shared = [place] if place else [each.namespace for each in self._own]
            left = [each for each in shared if self.holder(each) == other.release]
            where = "all namespaces" if other.is_of_all else f"namespace {place}"
            if left:
                logger.warning(
                    "release %s reconciles %s, and this one (%s) leaves them alone until it is "
                    "gone: uninstall one of them, or set watchNamespaces of each",
                    other.release,
                    where,
                    self._release,
                )
            else:
                logger.warning(
                    "release %s watches %s, too, and leaves to this one (%s) what both watch",
                    other.release,
                    where,
                    self._release,
                )
