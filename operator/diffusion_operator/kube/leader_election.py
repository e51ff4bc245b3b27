"""Leader election: the operator that holds the Lease writes."""

import asyncio
import logging
import socket
import uuid
from collections.abc import Callable

import aiohttp
from kubernetes.aio import client
from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from kubernetes.aio.leaderelection.leaderelectionrecord import LeaderElectionRecord
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock

# A dead leader is replaced after LEASE + RETRY seconds at the latest.
LEASE_SECONDS = 10
RENEW_DEADLINE_SECONDS = 6
RETRY_SECONDS = 2

logger = logging.getLogger(__name__)
# The library logs each lost race as an exception; this module logs outcomes.
logging.getLogger("kubernetes.aio.leaderelection").setLevel(logging.CRITICAL)


class _Patient(LeaderElection):
    """Election of the official client that survives a hanging or absent API server."""

    async def try_acquire_or_renew(self) -> bool:
        return await self._try_within(RETRY_SECONDS)

    async def renew_loop(self) -> None:
        """Renew until the last success is too old; no try goes on beyond that moment.

        The original begins its last try just before, and sleeps after it: longer than the Lease,
        in which another operator may lead.
        """
        clock = asyncio.get_running_loop().time
        renewed = clock()
        while (left := renewed + RENEW_DEADLINE_SECONDS - clock()) > 0:
            begun = clock()
            if await self._try_within(min(left, RETRY_SECONDS)):
                renewed = begun
            left = renewed + RENEW_DEADLINE_SECONDS - clock()
            await asyncio.sleep(max(0.0, min(left, RETRY_SECONDS)))

    async def _try_within(self, seconds: float) -> bool:
        try:
            return await asyncio.wait_for(super().try_acquire_or_renew(), seconds)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            logger.warning("the Lease can't be reached: %s: %s", type(error).__name__, error)
            return False


class _Lease(LeaseLock):
    """Lease lock of the official client with a working ``create``: the original passes a wrong
    parameter.
    """

    async def create(
        self, name: str, namespace: str, election_record: LeaderElectionRecord
    ) -> bool:
        meta = client.V1ObjectMeta(name=name)
        lease = client.V1Lease(metadata=meta, spec=self.update_lease(election_record))
        try:
            await self.api_instance.create_namespaced_lease(namespace, lease)
        except client.ApiException as error:
            logger.warning("the Lease can't be created: %s %s", error.status, error.reason)
            return False
        return True


class LeaderElector:
    """Elector that calls ``lead`` once elected and ``lose`` when leadership ends."""

    def __init__(
        self,
        api: client.ApiClient,
        lease: str,
        *,
        lead: Callable[[], None],
        lose: Callable[[], None],
    ) -> None:
        """Prepare the election.

        Args:
            api: Client of the API server.
            lease: NAMESPACE/NAME of the Lease.
            lead: Called once elected.
            lose: Called when leadership ends.
        """
        self._namespace, _, self._name = lease.partition("/")
        self._leases = client.CoordinationV1Api(api)
        self._lead = lead
        self._lose = lose
        self._task: asyncio.Task[None] | None = None
        self._leading = False
        # A random part distinguishes operators on one machine, and this one from its predecessor.
        identity = f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
        self._lock = _Lease(self._name, self._namespace, identity, api)

    def start(self) -> None:
        """Join the election in the running event loop."""
        config = Config(
            self._lock,
            lease_duration=LEASE_SECONDS,
            renew_deadline=RENEW_DEADLINE_SECONDS,
            retry_period=RETRY_SECONDS,
            onstarted_leading=self._elected,
            onstopped_leading=self._deposed,
        )
        self._task = asyncio.create_task(_Patient(config).run())
        self._task.add_done_callback(self._ended)
        logger.info("standing by for %s", self._lock.identity)

    async def _elected(self) -> None:
        self._leading = True
        self._lead()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Report an election that ended, which only a programming error causes."""
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error(
                "unhandled exception in the election, exiting: %s: %s", type(error).__name__, error
            )
            self._lose()

    async def _deposed(self) -> None:
        self._leading = False
        logger.error("the Lease was lost: exiting, so that no two operators write")
        self._lose()

    async def resign(self) -> None:
        """Release the Lease, so that a standby operator need not wait for its expiry."""
        if self._task is not None:
            self._task.cancel()
        if self._leading:
            nobody = {"spec": {"holderIdentity": None}}
            try:
                await self._leases.patch_namespaced_lease(self._name, self._namespace, nobody)
            except (client.ApiException, aiohttp.ClientError, OSError) as error:
                logger.warning("the Lease can't be released: %s", error)
