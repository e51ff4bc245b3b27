"""Readiness of the target before the load begins."""

import time
from contextlib import suppress
from http import HTTPStatus
from urllib.parse import urlsplit

from diffusion_loadtest.target.connection import Connection, NoResponseError

_PROBE_SECONDS = 5.0
_PAUSE_SECONDS = 0.5


class TargetUnreachableError(Exception):
    """The target did not become ready in time; the message says what to do."""


def wait_until_ready(url: str, seconds: float) -> None:
    """Waits until /readyz responds with another status than 503, the one of a starting target.

    Raises:
        TargetUnreachableError: The target is not ready after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            with Connection(url, _PROBE_SECONDS) as connection:
                if connection.get("/readyz").status != HTTPStatus.SERVICE_UNAVAILABLE:
                    return
            state = "/readyz returns 503"
        except NoResponseError as error:
            state = error.detail
        if time.monotonic() + _PAUSE_SECONDS > deadline:
            host = urlsplit(url).netloc
            raise TargetUnreachableError(
                f"The target {host} was not ready within {seconds:g} s: {state}. "
                "Check that the address is right and that the service behind it is Ready."
            )
        time.sleep(_PAUSE_SECONDS)


def warm_up_client(url: str) -> None:
    """Sends one request and drops its response: a process's first request takes longest."""
    with suppress(NoResponseError), Connection(url, _PROBE_SECONDS) as connection:
        connection.get("/readyz")
