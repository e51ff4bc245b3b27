"""Locust's own live page, to look at and not to touch."""

import sys

from flask import Response, request
from locust.env import Environment

HOST, PORT = "127.0.0.1", 8089
"""Only a port-forward reaches it."""


def open_page(environment: Environment) -> None:
    """Serve the page; its buttons, which all POST, are refused: the load is the plan's."""
    # the page reads the command line as if it were Locust's own, and exits on what it doesn't know
    del sys.argv[1:]
    page = environment.create_web_ui(host=HOST, port=PORT, delayed_start=True)
    if page.app is None:
        raise RuntimeError("Locust made a page without an application")
    page.app.before_request(_refuse_changes)
    page.start()


def _refuse_changes() -> Response | None:
    if request.method in {"GET", "HEAD"}:
        return None
    return Response("The load plan says what is done: nothing can be changed here.\n", 405)
