"""Sends, checks and records the requests of one process."""

import gc
import logging
import time
from random import Random

import gevent
from gevent.lock import Semaphore

from diffusion_loadtest.load.load_level import LoadLevel
from diffusion_loadtest.measure.clock import Clock
from diffusion_loadtest.measure.image_check import load_decoders
from diffusion_loadtest.measure.response_check import (
    BadResponseError,
    ExpectedImages,
    check_response,
)
from diffusion_loadtest.measure.samples import SUCCESS, Sample, Samples
from diffusion_loadtest.measure.server_timing import UNKNOWN, parse_server_timing
from diffusion_loadtest.plan.load_plan import LoadPlan
from diffusion_loadtest.plan.request_bodies import request_bodies
from diffusion_loadtest.target.connection import Connection, NoResponseError, Response

CLIENT_ERROR = "ClientError"
CHECK_SECONDS = 0.001
"""The time for which responses are checked before those that have arrived meanwhile are read."""
_SEEDS = 2**32
_logger = logging.getLogger(__name__)


class RequestSender:
    """Sends requests and records a sample of each.

    Times are seconds since `begin()`. `worker` is the name of a worker within its run: each worker
    draws its own random numbers, and the same ones for the same seed.
    """

    def __init__(
        self, plan: LoadPlan, prompts: tuple[str, ...], api_key: str | None, worker: str = ""
    ) -> None:
        self.plan = plan
        self.clock = Clock()
        self.samples = Samples()
        load_decoders()
        self._api_key = api_key
        self._worker = worker
        self._bodies = request_bodies(plan, prompts)
        self._seeded = plan.request.seed.policy == "random"
        self._expected_images = ExpectedImages.from_body(plan.request.body)
        self._images = 0
        self._decoded_images = 0
        self._random_seed = plan.random_seed or plan.test.run
        self._random_count = 0
        self._checking = Semaphore()
        self._read_all = 0.0
        self._logged: set[str] = set()

    def begin(self) -> None:
        """Starts anew at second 0 and drops the samples recorded so far."""
        # modules are never garbage: a collection among them would only delay a request
        gc.collect()
        gc.freeze()
        self.samples = Samples()
        self.clock.begin()

    def new_random(self) -> Random:
        """A random generator; the n-th one of a worker is the same for the same seed."""
        self._random_count += 1
        return Random(f"{self._random_seed}/{self._worker}/{self._random_count}")  # noqa: S311  no secret

    def new_connection(self) -> Connection:
        plan = self.plan
        timeout = plan.request.timeout_seconds
        return Connection(plan.target.url, timeout, self._api_key, plan.connections)

    def send(
        self, connection: Connection, random: Random, level: LoadLevel, due: float | None = None
    ) -> tuple[Sample, int]:
        """Sends one request of the level's stage, checks the response and records a sample.

        Args:
            connection: The connection to send the request on.
            random: The source of the prompt and the seed.
            level: The load level that the request belongs to.
            due: The moment that the latency counts from, in seconds into the load; now by default.

        Returns:
            The sample, and the size of the response in bytes.
        """
        started = time.perf_counter()
        late = 0.0 if due is None else max(0.0, self.clock.seconds() - due)
        response, failure = self._post(connection, self._body(random))
        ended = self.clock.seconds()
        took = time.perf_counter() - started if response is None else response.seconds
        timing, length, replica = UNKNOWN, 0, None
        if response is not None:
            timing = parse_server_timing(response.server_timing)
            length, replica = len(response.body), response.replica
            failure = self._check(response)
        if failure is not SUCCESS and failure not in self._logged:
            self._logged.add(failure)
            _logger.warning("The first failure %s came after %.1f s", failure, ended)
        latency = took + late
        measured = is_measured(level, ended - latency)
        sample = Sample(ended, latency, level.stage, failure, measured, timing, replica)
        self.samples.record(sample)
        return sample, length

    def _post(self, connection: Connection, body: bytes) -> tuple[Response | None, str | None]:
        """The response, or the kind of failure."""
        try:
            return connection.post("/predict", body), SUCCESS
        except NoResponseError as error:
            return None, error.kind
        except Exception as error:  # noqa: BLE001  a request must be counted whatever happens
            return None, _client_error(error)

    def _check(self, response: Response) -> str | None:
        """The kind of failure of a response; the check waits while others can be read.

        Responses of a batch arrive together. A check between two of them would count as latency of
        the second, and the last of forty would be later by forty checks.
        """
        with self._checking:
            if time.perf_counter() - self._read_all > CHECK_SECONDS:
                gevent.idle()
                self._read_all = time.perf_counter()
            try:
                content = response.content()
                check_response(response.status, content, self._expected_images, self._decode_next)
            except (NoResponseError, BadResponseError) as error:
                return error.kind
            except Exception as error:  # noqa: BLE001  a request must be counted whatever happens
                return _client_error(error)
        return SUCCESS

    def _body(self, random: Random) -> bytes:
        body = random.choice(self._bodies)
        return b'%b, "seed": %d}' % (body[:-1], random.randrange(_SEEDS)) if self._seeded else body

    def _decode_next(self) -> bool:
        """Whether fewer images than the share were decoded so far; the first one always is."""
        self._images += 1
        due = self._decoded_images < max(1.0, self._images * self.plan.request.decode_share)
        self._decoded_images += due
        return due


def _client_error(error: Exception) -> str:
    # logs the type alone: a message might quote the prompt
    _logger.error("A response could not be checked: %s", type(error).__name__)
    return CLIENT_ERROR


def is_measured(level: LoadLevel, start: float) -> bool:
    """Whether a request that starts, or is due, at that moment counts."""
    return level.measured_from is None or start >= level.measured_from
