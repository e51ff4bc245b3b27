"""The serving program with a stand-in: ``python -m serving.launch STAND-IN --backend …``.

STAND-IN is the seconds of a batch, or `FIXED+EACH` of a step, with `/steps` or `/calls` after it;
`model/calls` is the configured model, made to serve by whole calls.
"""

import os
import sys
from functools import partial
from importlib import import_module

from diffusion_serving.engine_process.startup import Load
from diffusion_serving.observability import logs
from diffusion_serving.settings import read_settings
from serving import stand_in, stepped_stand_in, whole_calls
from serving.stepped_stand_in import StepCost
from serving.whole_calls import WHOLE_CALLS


def loader(flag: str) -> Load:
    """The loader of the stand-in that the command line names."""
    if flag == WHOLE_CALLS:
        return whole_calls.load
    cost, slash, way = flag.partition("/")
    if not slash:
        return partial(stand_in.load, float(cost))
    return partial(stepped_stand_in.load, StepCost.of(cost), way == "steps")


def main() -> int:
    logs.configure()
    model = [] if sys.argv[1] == WHOLE_CALLS else ["--model", "/stand-in"]
    settings = read_settings([*sys.argv[2:], *model], os.environ)
    backend = import_module(f"diffusion_serving.backends.{settings.config.backend}")
    return int(backend.serve(settings, loader(sys.argv[1])))


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # as the serving program does
