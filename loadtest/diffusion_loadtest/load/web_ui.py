"""Locust's own live page, read-only."""

import sys

from flask import Response, request
from locust.env import Environment

HOST, PORT = "127.0.0.1", 8089
"""The address of the page, which only a port-forward reaches."""


def open_page(environment: Environment) -> None:
    """Serves the page and refuses its buttons, which all POST: the plan alone sets the load."""
    # the page parses sys.argv as Locust's own and exits on an unknown option
    del sys.argv[1:]
    page = environment.create_web_ui(host=HOST, port=PORT, delayed_start=True)
    if page.app is None:
        raise RuntimeError("Locust created a page without an application")
    page.app.before_request(_refuse_changes)
    page.start()


def _refuse_changes() -> Response | None:
    if request.method in {"GET", "HEAD"}:
        return None
    return Response("The load plan sets the load: this page is read-only.\n", 405)
