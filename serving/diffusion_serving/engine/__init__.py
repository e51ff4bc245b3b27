"""The engine: threads that own the devices, one each, and the bounded queue in front of them.

A diffusers pipeline must not be shared between threads, so everything that touches a model
happens on its owner's thread. Others submit jobs and wait for their futures.
"""

from diffusion_serving.engine.batching import Batching
from diffusion_serving.engine.core import Engine
from diffusion_serving.engine.generation import OnStep
from diffusion_serving.engine.jobs import Job, Result, Startup, State
from diffusion_serving.engine.runner import BatchRunner, Outcome, start_runner

__all__ = [
    "BatchRunner",
    "Batching",
    "Engine",
    "Job",
    "OnStep",
    "Outcome",
    "Result",
    "Startup",
    "State",
    "start_runner",
]
