"""Which of several operators writes: the one that holds the Lease."""

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

# A leader that is gone is replaced after LEASE + RETRY at the latest.
LEASE_SECONDS = 10
RENEW_DEADLINE_SECONDS = 6
RETRY_SECONDS = 2

logger = logging.getLogger(__name__)
# It logs each lost race as an exception; what came of it is said here.
logging.getLogger("kubernetes.aio.leaderelection").setLevel(logging.CRITICAL)


class _Patient(LeaderElection):
    """The client's own election, with an API server that may hang or be away."""

    async def try_acquire_or_renew(self) -> bool:
        try:
            return await asyncio.wait_for(super().try_acquire_or_renew(), RETRY_SECONDS)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            logger.warning("the Lease can't be reached: %s: %s", type(error).__name__, error)
            return False


class _Lease(LeaseLock):
    """The client's own lock, able to make the Lease: the original asks with a wrong parameter."""

    async def create(
        self, name: str, namespace: str, election_record: LeaderElectionRecord
    ) -> bool:
        meta = client.V1ObjectMeta(name=name)
        lease = client.V1Lease(metadata=meta, spec=self.update_lease(election_record))
        try:
            await self.api_instance.create_namespaced_lease(namespace, lease)
        except client.ApiException as error:
            logger.warning("the Lease can't be made: %s %s", error.status, error.reason)
            return False
        return True


class Candidate:
    """Stands for election; ``lead`` is called once elected, ``lose`` if that ends."""

    def __init__(
        self,
        api: client.ApiClient,
        lease: str,
        *,
        lead: Callable[[], None],
        lose: Callable[[], None],
    ) -> None:
        """``lease`` is NAMESPACE/NAME of the Lease."""
        self._namespace, _, self._name = lease.partition("/")
        self._leases = client.CoordinationV1Api(api)
        self._lead = lead
        self._lose = lose
        self._task: asyncio.Task[None] | None = None
        self._leading = False
        # Told apart even on one machine, and from its own predecessor.
        identity = f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
        self._lock = _Lease(self._name, self._namespace, identity, api)

    def start(self) -> None:
        """Stand for election in the running event loop."""
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
        """The election never ends by itself, but by a mistake in it."""
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("the election ended: %s: %s", type(error).__name__, error)
            self._lose()

    async def _deposed(self) -> None:
        self._leading = False
        logger.error("the Lease was lost: ending, so that no two operators write")
        self._lose()

    async def resign(self) -> None:
        """Leave the Lease to whoever stands by, without their waiting for its end."""
        if self._task is not None:
            self._task.cancel()
        if self._leading:
            nobody = {"spec": {"holderIdentity": None}}
            try:
                await self._leases.patch_namespaced_lease(self._name, self._namespace, nobody)
            except (client.ApiException, aiohttp.ClientError, OSError) as error:
                logger.warning("the Lease can't be given back: %s", error)
