"""Logging: one JSON object a line on stdout, and never a prompt."""

import json
import logging
import logging.config
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, TextIO

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""Attributes that every record has; the others are from `extra=`."""


class JsonFormatter(logging.Formatter):
    """`{"time", "level", "logger", "message", …extra}` on one line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update((name, value) for name, value in vars(record).items() if name not in _STANDARD)
        line.pop("color_message", None)  # uvicorn's second copy of the message, for terminals
        if record.exc_info and (error := record.exc_info[1]) is not None:
            line.update(failure_fields(error))
        return json.dumps(line, default=str)


def failure_fields(error: BaseException) -> dict[str, Any]:
    """Returns the loggable fields of an exception: its type and its place.

    The message is left out, because a library may quote the prompt in it. Only tensor code raises
    RuntimeError, which never sees a text, and its message (out of memory, a lost device) is needed.
    """
    frames = [
        f"{frame.filename}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    fields: dict[str, Any] = {"error": type(error).__name__, "frames": frames[-12:]}
    if isinstance(error, RuntimeError):
        fields["error_message"] = _ends(str(error))
    return fields


def _ends(text: str, length: int = 600) -> str:
    """Shortens a text to its beginning and its end: torch begins with the reason, Ray ends so."""
    if len(text) <= length:
        return text
    return f"{text[: length // 2]} … {text[-length // 2 :]}"


def configure(stream: TextIO | None = None) -> None:
    """Sends all logging, Python warnings included, to the stream (stdout) as JSON lines."""
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
    # uvicorn's start and stop lines repeat this program's own.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
