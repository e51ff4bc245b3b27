"""The state that all users of a run share, and the one request that each of them repeats."""

import gc
import logging
import time
from random import Random

from .answers import BadAnswerError, Expected, check_answer
from .client import Connection, NoAnswerError
from .images import load_decoders
from .plan import LoadPlan, request_bodies
from .samples import SUCCESS, Sample, Samples

DECODED_SHARE = 20
"""One image of so many is decoded in full, the first one included."""

CLIENT_ERROR = "ClientError"
_logger = logging.getLogger(__name__)


class Load:
    """What is sent, what came of it, and where in the plan the run is.

    Times are seconds since `begin()`. `stage` is the index that requests begun now belong to.
    """

    def __init__(self, plan: LoadPlan, prompts: tuple[str, ...]) -> None:
        self.plan = plan
        self.samples = Samples()
        self.stage = 0
        self.user_changes: list[tuple[float, int]] = []
        load_decoders()
        self._bodies = request_bodies(plan, prompts)
        self._expected = Expected.from_body(plan.request.body)
        self._images = 0
        self._users_made = 0
        self._begun: float | None = None
        self._ended: float | None = None

    def begin(self) -> None:
        # the modules stay for good: collecting garbage among them would only delay what is timed
        gc.collect()
        gc.freeze()
        self._begun = time.perf_counter()

    def end(self) -> None:
        self._ended = time.perf_counter()

    def seconds(self) -> float:
        """Since the load began: 0 before that, and the same for ever after its end."""
        if self._begun is None:
            return 0.0
        return (time.perf_counter() if self._ended is None else self._ended) - self._begun

    @property
    def users(self) -> int:
        """How many users are at work: not those who only finish their last request."""
        return self.user_changes[-1][1] if self.user_changes else 0

    def set_users(self, users: int) -> None:
        self.user_changes.append((self.seconds(), users))

    def new_random(self) -> Random:
        """The next user's own source of chance: the same for the same user of the same run."""
        self._users_made += 1
        return Random(f"{self.plan.test.run}/{self._users_made}")  # noqa: S311  no secret

    def new_connection(self) -> Connection:
        return Connection(self.plan.target.url, self.plan.request.timeout_seconds)

    def request(self, connection: Connection, random: Random) -> tuple[Sample, int]:
        """Send one request, judge and record it; returns its sample and its answer's bytes."""
        stage, started = self.stage, self.seconds()
        failure: str | None = SUCCESS
        length = 0
        try:
            answer = connection.post("/predict", random.choice(self._bodies))
            ended, length = started + answer.seconds, len(answer.body)
            check_answer(answer.status, answer.body, self._expected, self._decode_next)
        except (NoAnswerError, BadAnswerError) as error:
            failure, ended = error.kind, self.seconds()
        except Exception as error:  # noqa: BLE001  a request must be counted whatever happens
            # the type alone: a message might quote the prompt
            _logger.error("A request could not be judged: %s", type(error).__name__)  # noqa: TRY400
            failure, ended = CLIENT_ERROR, self.seconds()
        sample = Sample(ended, ended - started, stage, failure)
        self.samples.record(sample)
        return sample, length

    def _decode_next(self) -> bool:
        self._images += 1
        return self._images % DECODED_SHARE == 1
