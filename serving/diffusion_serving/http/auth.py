"""API keys: who may use the service."""

import hashlib
import hmac
import logging
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from diffusion_serving.http.responses.problems import UNAUTHORIZED, Problem
from diffusion_serving.http.responses.replies import refusal
from diffusion_serving.http.ui.files import FILES
from diffusion_serving.observability.errors import InvalidConfiguration

log = logging.getLogger(__name__)

OPEN = frozenset({"/", "/docs", "/openapi.json", "/healthz", "/readyz", "/metrics", *FILES})
"""Paths for which no key is asked: a kubelet's probe and Prometheus's scrape bring none, the
description tells how to bring one, and the page asks its user. None shows a prompt or an image."""

_MAX_BYTES = 64 * 1024

Signature = tuple[int, int, int]


class Keys:
    """The keys of a file, read anew when it changes, so that they can be replaced while serving.

    Two keys in the file are both let in, so that clients can change over one by one.
    """

    def __init__(self, file: Path) -> None:
        """Reads the file.

        Raises:
            InvalidConfiguration: it can't be read or has no key, so that nobody could be let in.

        """
        self._file = file
        try:
            self._signature = _signature(file)
            self._digests = _read(file)
        except OSError as error:
            raise InvalidConfiguration(
                f"auth.apiKeyFile {file} cannot be read ({error.strerror}). Check that the Secret "
                "exists, has that key, and is mounted."
            ) from None
        except ValueError as error:
            raise InvalidConfiguration(f"auth.apiKeyFile {file} {error}.") from None

    def admit(self, key: bytes) -> bool:
        """Whether it is one of the keys. How long it takes tells nothing of them."""
        self._refresh()
        digest = _digest(key)
        # Every key is compared, so that the time does not say which one was right.
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return any(matches)

    def _refresh(self) -> None:
        """Reads the file if it has changed; without a readable one, nobody is let in."""
        try:
            signature = _signature(self._file)
            if signature == self._signature:
                return
            digests = _read(self._file)
        except (OSError, ValueError) as error:
            if self._digests:
                log.error(  # noqa: TRY400 - what failed is all there is to know
                    "the API keys cannot be read: nobody is let in",
                    extra={"file": str(self._file), "error": type(error).__name__},
                )
            self._signature, self._digests = (0, 0, 0), ()
            return
        self._signature, self._digests = signature, digests
        log.info("API keys read anew", extra={"keys": len(digests)})


def _signature(file: Path) -> Signature:
    """Changes with the file. A mounted Secret's name is a symbolic link that is led elsewhere."""
    found = file.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read(file: Path) -> tuple[bytes, ...]:
    """Digests of the keys, all of one length whatever the keys' own. Raises OSError, ValueError."""
    with file.open("rb") as opened:
        content = opened.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ValueError(f"is longer than {_MAX_BYTES} bytes: write one key on each line")
    keys = [line.strip() for line in content.splitlines()]
    digests = tuple(_digest(key) for key in keys if key)
    if not digests:
        raise ValueError("is empty: write one key on each line")
    return digests


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


class Guard:
    """Lets requests with a key through to the application, and those for which none is asked."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN or self._keys.admit(_key(scope)):
            await self._app(scope, receive, send)
            return
        reply = refusal(scope["path"], _refused(_key(scope)))
        headers = {"content-type": reply.media_type, "content-length": str(len(reply.body))}
        await send(
            {
                "type": "http.response.start",
                "status": reply.status,
                "headers": [
                    (name.lower().encode(), value.encode())
                    for name, value in (headers | dict(reply.headers)).items()
                ],
            }
        )
        await send({"type": "http.response.body", "body": reply.body})


def _key(scope: Scope) -> bytes:
    """What the Authorization header brings; empty if it is none, or of another scheme."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, key = value.partition(b" ")
            return key.strip() if scheme.lower() == b"bearer" else b""
    return b""


def _refused(key: bytes) -> Problem:
    said = "The key is not one of this service's." if key else "The request has no key."
    error = ', error="invalid_token"' if key else ""
    return Problem(
        UNAUTHORIZED,
        f"{said} {UNAUTHORIZED.advice}",
        headers={"WWW-Authenticate": f'Bearer realm="diffusion"{error}'},
    )
