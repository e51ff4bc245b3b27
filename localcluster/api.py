"""The few calls to the API server that are needed to wait for it."""

import http.client
import json
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


class ApiClient:
    """A client with the rights of the cluster's administrator."""

    def __init__(self, server: str, pki: Path) -> None:
        parts = urlsplit(server)
        self._host = parts.hostname or ""
        self._port = parts.port or 443
        self._context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self._context.load_cert_chain(pki / "admin.crt", pki / "admin.key")

    def get(self, path: str, *, timeout: float = 5.0) -> str | None:
        """The body of a response with 200; None for any other response, and for none."""
        connection = http.client.HTTPSConnection(
            self._host, self._port, timeout=timeout, context=self._context
        )
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read().decode()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return body if answer.status == http.client.OK else None

    def object(self, path: str) -> Any:
        """The object at `path`, or None if there is none."""
        body = self.get(path)
        return None if body is None else json.loads(body)

    def ready(self) -> bool:
        return self.get("/readyz", timeout=2.0) is not None


def condition(item: Any, kind: str) -> str | None:
    """The status of an object's condition: True, False or Unknown; None without the condition."""
    for entry in (item or {}).get("status", {}).get("conditions", []):
        if entry["type"] == kind:
            return str(entry["status"])
    return None
