"""The engine: a thread that owns the device, and the bounded queue in front of it.

A diffusers pipeline must not be shared between threads, so everything that touches the model
happens on the engine's thread. Other threads submit requests and wait for their futures.
"""

from diffusion_serving.engine.batching import Batching
from diffusion_serving.engine.core import Engine
from diffusion_serving.engine.lifecycle import Startup, State
from diffusion_serving.engine.pipeline_interface import OnStep
from diffusion_serving.engine.queued_request import Outcome, QueuedRequest, Result
from diffusion_serving.engine.runner import BatchRunner
from diffusion_serving.engine.start import start_runner

__all__ = [
    "BatchRunner",
    "Batching",
    "Engine",
    "OnStep",
    "Outcome",
    "QueuedRequest",
    "Result",
    "Startup",
    "State",
    "start_runner",
]
