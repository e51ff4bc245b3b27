"""The termination message of a process that cannot serve, which the kubelet reads."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from diffusion_serving.observability.startup_errors import StartupError

log = logging.getLogger("diffusion_serving")

EXIT_CONFIG = 78
"""`EX_CONFIG` of sysexits.h: starting again without a change will not help."""

_DEFAULT = Path("/dev/termination-log")

_MAX_MESSAGE = 1000
"""Characters: the kubelet keeps 4096 bytes of the file, and a character may take four."""


def report(error: StartupError, environ: Mapping[str, str]) -> int:
    """Logs the error and writes it to the termination log if it can; returns the exit code."""
    message = " ".join(str(error).split())[:_MAX_MESSAGE]
    log.error(message, extra={"reason": error.reason})
    path = Path(environ.get("TERMINATION_LOG", _DEFAULT))
    document = json.dumps({"reason": error.reason, "message": message}, ensure_ascii=False)
    try:
        # The kubelet creates the default file; outside a container none may appear in /dev.
        with path.open("r+" if path == _DEFAULT else "w", encoding="utf-8") as file:
            file.write(document)
    except OSError:
        log.debug("the termination log cannot be written", extra={"path": str(path)})
    return EXIT_CONFIG
