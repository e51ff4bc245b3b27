"""What one process of the load has in common, and the one request that all of it repeats."""

import gc
import logging
import time
from random import Random

from diffusion_loadtest.load.load_level import Order
from diffusion_loadtest.measure.clock import Clock
from diffusion_loadtest.measure.image_check import load_decoders
from diffusion_loadtest.measure.response_check import BadAnswerError, Expected, check_answer
from diffusion_loadtest.measure.samples import SUCCESS, Sample, Samples
from diffusion_loadtest.measure.server_timing import UNKNOWN, parse_server_timing
from diffusion_loadtest.plan.load_plan import LoadPlan
from diffusion_loadtest.plan.request_bodies import request_bodies
from diffusion_loadtest.target.connection import Connection, NoAnswerError

CLIENT_ERROR = "ClientError"
_SEEDS = 2**32
_logger = logging.getLogger(__name__)


class Load:
    """What is sent, and what came of it.

    Times are seconds since `begin()`. `who` tells the workers of a run apart: what each of them
    draws by chance is its own, and the same in the same run.
    """

    def __init__(
        self, plan: LoadPlan, prompts: tuple[str, ...], api_key: str | None, who: str = ""
    ) -> None:
        self.plan = plan
        self.clock = Clock()
        self.samples = Samples()
        load_decoders()
        self._api_key = api_key
        self._who = who
        self._bodies = request_bodies(plan, prompts)
        self._seeded = plan.request.seed.policy == "random"
        self._expected = Expected.from_body(plan.request.body)
        self._images = 0
        self._decoded = 0
        self._randoms_made = 0

    def begin(self) -> None:
        """Start anew: what was recorded is forgotten, and it is second 0."""
        # the modules stay for good: collecting garbage among them would only delay what is timed
        gc.collect()
        gc.freeze()
        self.samples = Samples()
        self.clock.begin()

    def new_random(self) -> Random:
        """Another source of chance: the same for the same worker's n-th one of the same run."""
        self._randoms_made += 1
        return Random(f"{self.plan.test.run}/{self._who}/{self._randoms_made}")  # noqa: S311  no secret

    def new_connection(self) -> Connection:
        request = self.plan.request
        return Connection(self.plan.target.url, request.timeout_seconds, self._api_key)

    def request(
        self, connection: Connection, random: Random, order: Order, due: float | None = None
    ) -> tuple[Sample, int]:
        """Send one request, judge and record it; returns its sample and its answer's bytes.

        It belongs to the stage of `order`. Its latency counts from `due`, in seconds into the load,
        or else from now.
        """
        started = time.perf_counter()
        late = 0.0 if due is None else max(0.0, self.clock.seconds() - due)
        failure: str | None = SUCCESS
        timing, length = UNKNOWN, 0
        try:
            answer = connection.post("/predict", self._body(random))
            took, length = answer.seconds, len(answer.body)
            ended = self.clock.seconds()
            timing = parse_server_timing(answer.server_timing)
            check_answer(answer.status, answer.body, self._expected, self._decode_next)
        except (NoAnswerError, BadAnswerError) as error:
            failure = error.kind
            took, ended = time.perf_counter() - started, self.clock.seconds()
        except Exception as error:  # noqa: BLE001  a request must be counted whatever happens
            # the type alone: a message might quote the prompt
            _logger.error("A request could not be judged: %s", type(error).__name__)  # noqa: TRY400
            failure = CLIENT_ERROR
            took, ended = time.perf_counter() - started, self.clock.seconds()
        latency = took + late
        measured = is_measured(order, ended - latency)
        sample = Sample(ended, latency, order.stage, failure, measured, timing)
        self.samples.record(sample)
        return sample, length

    def _body(self, random: Random) -> bytes:
        body = random.choice(self._bodies)
        return b'%b, "seed": %d}' % (body[:-1], random.randrange(_SEEDS)) if self._seeded else body

    def _decode_next(self) -> bool:
        """Whether so far too few images were decoded, of which the first is always one."""
        self._images += 1
        due = self._decoded < max(1.0, self._images * self.plan.request.decode_share)
        self._decoded += due
        return due


def is_measured(order: Order, begun: float) -> bool:
    """Whether a request that was begun, or due, at that moment counts."""
    return order.measured_from is None or begun >= order.measured_from
