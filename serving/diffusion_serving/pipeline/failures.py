"""Torch's failures, as the engine's exceptions."""

from collections.abc import Callable
from typing import TypeVar

import torch

from diffusion_serving.engine.pipeline_interface import OutOfMemory
from diffusion_serving.observability.startup_errors import DeviceLost

T = TypeVar("T")

_OUT_OF_MEMORY = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""Texts in the RuntimeErrors of libraries that allocate memory themselves."""


def guarded(call: Callable[[], T], probe: Callable[[], None]) -> T:
    """Calls a function on the device and returns its result.

    Args:
        call: the function.
        probe: a small piece of work, which raises if the device is not usable any more: after some
            failures every later call fails too, and their messages don't show which.

    Raises:
        OutOfMemory: in place of torch's own. The memory of the failed call is free again.
        DeviceLost: the device failed.

    """
    try:
        return call()
    except torch.OutOfMemoryError as error:
        message = str(error)
    except Exception as error:
        if isinstance(error, RuntimeError) and any(name in str(error) for name in _OUT_OF_MEMORY):
            message = str(error)
        else:
            _require_device(probe, error)
            raise
    # The error is gone here, and with its frames the tensors that they held.
    torch.cuda.empty_cache()  # does nothing where there is none
    raise OutOfMemory(message)


def device_probe(device: torch.device) -> Callable[[], None]:
    """Returns a probe for `guarded`."""

    def probe() -> None:
        if device.type == "cuda":
            torch.ones(1, device=device).add_(1)
            torch.cuda.synchronize(device)

    return probe


def _require_device(probe: Callable[[], None], error: Exception) -> None:
    try:
        probe()
    except Exception as unusable:  # noqa: BLE001 - any failure shows that the device does not work
        raise DeviceLost(
            f"The device failed while it was serving ({type(unusable).__name__}: {unusable}). "
            "A new process may find it working; otherwise look at the node's driver and GPU."
        ) from error
