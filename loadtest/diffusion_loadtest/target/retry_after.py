"""Retry-After: the pause that a target asks for when it refuses a request."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import Random

REFUSALS = frozenset({"HTTP429", "HTTP503"})
"""The kinds of failure of a request that the target did not take."""
UNSTATED_SECONDS = 1.0
"""The pause after a refusal without a Retry-After."""
LONGEST_SECONDS = 60.0
"""The longest pause: a stage's users must not sleep through it."""


def retry_after_seconds(header: str | list[str] | None, now: datetime | None = None) -> float:
    """The pause of a Retry-After header in seconds, a number or a date; the unstated one without.

    Args:
        header: The value or values of the header; the last one counts.
        now: The present moment; the clock's by default.
    """
    value = (header[-1] if isinstance(header, list) else header or "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST_SECONDS)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return UNSTATED_SECONDS
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    left = (moment - (now or datetime.now(UTC))).total_seconds()
    return min(max(0.0, left), LONGEST_SECONDS)


def pause_after(failure: str | None, asked_seconds: float, random: Random) -> float:
    """The seconds for which a user sends nothing after a request; 0 unless it was refused.

    A client that sends again at once would load the target with refusals alone. The pause is up to
    a tenth longer than asked, so that refused users don't return together.
    """
    return asked_seconds * random.uniform(1.0, 1.1) if failure in REFUSALS else 0.0
