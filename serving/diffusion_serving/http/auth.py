"""API keys, and the check of each request's key."""

import hashlib
import hmac
import logging
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from diffusion_serving.http.responses.problems import UNAUTHORIZED, Problem
from diffusion_serving.http.responses.replies import refusal
from diffusion_serving.http.route_table import OPEN_PATHS
from diffusion_serving.observability.mounted_files import version_of
from diffusion_serving.observability.startup_errors import InvalidConfiguration

log = logging.getLogger("diffusion_serving")

_MAX_BYTES = 64 * 1024


class Keys:
    """The keys of a file, read again when it changes, so that keys can be replaced while serving.

    All keys in the file are valid, so that clients can change over one by one.
    """

    def __init__(self, file: Path) -> None:
        """Reads the file.

        Raises:
            InvalidConfiguration: it can't be read or has no key, so every request would be refused.

        """
        self._file = file
        try:
            self._version = version_of(file)
            self._digests = _read(file)
        except OSError as error:
            raise InvalidConfiguration(
                f"auth.apiKeyFile {file} cannot be read ({error.strerror}). Check that the Secret "
                "exists, has that key, and is mounted."
            ) from None
        except ValueError as error:
            raise InvalidConfiguration(f"auth.apiKeyFile {file} {error}.") from None

    def admit(self, key: bytes) -> bool:
        """Returns whether a key is valid, in a time that reveals nothing of the keys."""
        self._refresh()
        digest = _digest(key)
        # Every key is compared, so that the time does not reveal which one was right.
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return any(matches)

    def _refresh(self) -> None:
        """Reads the file if it has changed; without a readable one, every key is refused."""
        try:
            version = version_of(self._file)
            if version == self._version:
                return
            digests = _read(self._file)
        except (OSError, ValueError) as error:
            if self._digests:
                log.error(  # noqa: TRY400 - the failure is all there is to know
                    "the API keys cannot be read: every key is refused",
                    extra={"file": str(self._file), "error": type(error).__name__},
                )
            self._version, self._digests = (0, 0, 0), ()
            return
        self._version, self._digests = version, digests
        log.info("API keys read again", extra={"keys": len(digests)})


def _read(file: Path) -> tuple[bytes, ...]:
    """Returns digests of the keys, all of one length. Raises OSError, ValueError."""
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
    """ASGI middleware that refuses requests without a valid key, but for open routes."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or self._keys.admit(_key(scope)):
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
    """Returns the Authorization header's key; empty if there is none, or of another scheme."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, key = value.partition(b" ")
            return key.strip() if scheme.lower() == b"bearer" else b""
    return b""


def _refused(key: bytes) -> Problem:
    reason = "The key is not one of this service's." if key else "The request has no key."
    error = ', error="invalid_token"' if key else ""
    return Problem(
        UNAUTHORIZED,
        f"{reason} {UNAUTHORIZED.advice}",
        headers={"WWW-Authenticate": f'Bearer realm="diffusion"{error}'},
    )
