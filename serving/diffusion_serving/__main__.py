"""`python -m diffusion_serving`: see `--help`."""

import logging
import os
import signal
import sys

# The first process of a container ignores SIGTERM until it has a handler, and the imports below
# take a while. No request has to be finished yet, so the process may just end.
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

from importlib import import_module  # noqa: E402

from diffusion_serving.fetch.model_files import inspect  # noqa: E402
from diffusion_serving.http.auth import Keys  # noqa: E402
from diffusion_serving.http.responses.marks import signer_of  # noqa: E402
from diffusion_serving.observability import logs, termination  # noqa: E402
from diffusion_serving.observability.startup_errors import StartupError  # noqa: E402
from diffusion_serving.settings import read_settings  # noqa: E402


def main() -> int:
    logs.configure()
    # The whole model lies in its directory: no library may fetch more from the internet.
    os.environ["HF_HUB_OFFLINE"] = "1"
    # The libraries read these when they are imported, and would warn of unused parts.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    # A thread that waits for the others gives its core away. Spinning, the default, was measured to
    # make a step 13 times slower on two cores that another process used too.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        settings = read_settings(sys.argv[1:], os.environ)
        if auth := settings.config.auth:
            Keys(auth.api_key_file)  # now, and not in one of a framework's own processes
        signer_of(settings.config.provenance)  # same
        if settings.config.rayserve.topology == "pods":  # the head of a Ray cluster has no model
            inspect(settings.config.model.path)  # now, as a framework may take long to start
        logging.getLogger("diffusion_serving").info(
            "starting", extra=settings.config.model_dump(mode="json")
        )
        backend = import_module(f"diffusion_serving.backends.{settings.config.backend}")
        return int(backend.serve(settings))
    except StartupError as error:
        return termination.report(error, os.environ)


if __name__ == "__main__":
    code = 1
    try:
        code = main()
    except SystemExit as ended:  # argparse's, or uvicorn's where the port is taken
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        logging.getLogger("diffusion_serving").exception("unhandled exception; exiting")
    sys.stdout.flush()
    sys.stderr.flush()
    # The engine's thread may still be loading; ending the interpreter under torch's feet can crash.
    os._exit(code)
