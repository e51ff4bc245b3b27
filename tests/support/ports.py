"""Ports for the servers that tests and benchmarks start."""

import contextlib
import random
import socket


def free_port() -> int:
    """One that nobody uses, and nobody will be given: not by the kernel, not by Ray.

    Ray takes 10002 to 19999 for its workers and a few up from 30000, the kernel those from 32768.
    """
    while True:
        port = random.randrange(20000, 30000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
