"""Requests of the tests to a server that answers over HTTP: a process or a pod."""

import socket
from typing import Any

import httpx

LIMITS = {"maxSteps": 500, "maxPixels": 16384, "maxImagesPerRequest": 4, "maxPromptLength": 1000}
MOST_WAITING = 60
"""Requests of 70 steps that wait, beside `LIMITS`, in every server under the suite."""
WAITING_STEPS = 70
QUEUE_LENGTH = MOST_WAITING * WAITING_STEPS // 2
"""The queue's bound, which counts cost: in requests of the servers' 2 steps."""


class Answers:
    """A server, with an HTTP client and with raw connections to it."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.url = str(client.base_url).rstrip("/")

    def predict(self, **fields: Any) -> httpx.Response:
        return self.client.post("/predict", json=fields)

    def metric(self, name: str) -> float:
        """The sum of a metric's samples; `name` may hold labels."""
        lines = self.client.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def send(self, body: bytes) -> socket.socket:
        """Sends a request for images, and returns the open connection."""
        address = self.client.base_url
        assert address.port is not None
        connection = socket.create_connection((address.host, address.port))
        head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        connection.sendall(head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        return connection
