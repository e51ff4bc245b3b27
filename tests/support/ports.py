"""Ports for the servers that tests and benchmarks start."""

import contextlib
import random
import socket


def free_port() -> int:
    """A free port outside of the ranges from which the kernel and Ray allocate ports.

    Ray allocates 10002 to 19999 for its workers and a few from 30000 on, the kernel from 32768 on.
    """
    while True:
        port = random.randrange(20000, 30000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
