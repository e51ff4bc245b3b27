"""What is asked of the target before the load: is it there, and what is it?"""

import time
from contextlib import suppress
from http import HTTPStatus
from urllib.parse import urlsplit

from diffusion_loadtest.target.connection import Connection, NoAnswerError

_PROBE_SECONDS = 5.0
_PAUSE_SECONDS = 0.5


class TargetUnreachableError(Exception):
    """The target did not become ready in time; the message is a sentence that says what to do."""


def wait_until_ready(url: str, seconds: float) -> None:
    """Return once /readyz answers with anything but 503, which a starting target says.

    Raises TargetUnreachableError after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            with Connection(url, _PROBE_SECONDS) as connection:
                if connection.get("/readyz").status != HTTPStatus.SERVICE_UNAVAILABLE:
                    return
            state = "it answers, but is not ready (503)"
        except NoAnswerError as error:
            state = error.why
        if time.monotonic() + _PAUSE_SECONDS > deadline:
            host = urlsplit(url).netloc
            raise TargetUnreachableError(
                f"The target {host} was not ready within {seconds:g} s: {state}. "
                "Check that the address is right and that the service behind it is Ready."
            )
        time.sleep(_PAUSE_SECONDS)


def try_out(url: str) -> None:
    """One request whose answer does not matter: the first one of a process takes longest."""
    with suppress(NoAnswerError), Connection(url, _PROBE_SECONDS) as connection:
        connection.get("/readyz")
