"""What a GPU has spent and how busy it was, by the library that NVIDIA's driver brings with it."""

import ctypes
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from diffusion_serving.observability.metrics import DeviceUse

log = logging.getLogger(__name__)

LIBRARY = "libnvidia-ml.so.1"
_SAMPLE_SECONDS = 0.5
"""NVML's own figure is of the last sixth of a second to a second, by the GPU."""
_MILLIJOULES = 1000.0
_PERCENT = 100.0


class NvmlError(Exception):
    """A call was refused; its message is the function's name and NVML's number of the cause."""


class _Utilisation(ctypes.Structure):
    """NVML's `nvmlUtilization_t`: percent of the time in which kernels ran, or memory was used."""

    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class Gpu:
    """One GPU of this machine. Its methods may be called on any thread.

    Args:
        library: NVML, or something with its functions.
        uuid: of the GPU, such as `GPU-12345678-…`.

    Raises:
        NvmlError: NVML can't be used, or knows no such GPU.

    """

    def __init__(self, library: Any, uuid: str) -> None:
        self._library = library
        self._handle = ctypes.c_void_p()
        self._call("nvmlInit_v2")
        self._call("nvmlDeviceGetHandleByUUID", uuid.encode(), ctypes.byref(self._handle))

    def joules(self) -> float:
        """Energy since the driver was loaded.

        Raises:
            NvmlError: the GPU doesn't tell, as those before Volta and parts of one.

        """
        spent = ctypes.c_ulonglong()
        self._call("nvmlDeviceGetTotalEnergyConsumption", self._handle, ctypes.byref(spent))
        return spent.value / _MILLIJOULES

    def busy(self) -> float:
        """The share of the moments just past in which it ran anything, of 1.

        Raises:
            NvmlError: the GPU doesn't tell.

        """
        found = _Utilisation()
        self._call("nvmlDeviceGetUtilizationRates", self._handle, ctypes.byref(found))
        return int(found.gpu) / _PERCENT

    def _call(self, name: str, *arguments: Any) -> None:
        if code := getattr(self._library, name)(*arguments):
            raise NvmlError(f"{name}: {code}")


class Meter:
    """Adds up what a GPU has spent, and how long it was busy, since this was made.

    Whatever else uses the same GPU is counted too.
    """

    def __init__(self, gpu: Gpu, clock: Callable[[], float] = time.monotonic) -> None:
        self._gpu = gpu
        self._clock = clock
        self._first_joules = _told(gpu.joules)
        self._busy_seconds = None if _told(gpu.busy) is None else 0.0
        self._sampled = clock()

    def use(self) -> DeviceUse:
        """What is known by now."""
        joules = None if self._first_joules is None else _told(self._gpu.joules)
        if joules is not None and self._first_joules is not None:
            joules -= self._first_joules
        return DeviceUse(joules, self._busy_seconds)

    def sample(self) -> None:
        """Takes the GPU to have been since the last sample as busy as it is now."""
        now = self._clock()
        if self._busy_seconds is not None and (share := _told(self._gpu.busy)) is not None:
            self._busy_seconds += share * (now - self._sampled)
        self._sampled = now

    def go_on(self) -> None:
        """Samples from now on, on a thread of its own."""

        def sample() -> None:
            while True:
                time.sleep(_SAMPLE_SECONDS)
                self.sample()

        threading.Thread(target=sample, name="meter", daemon=True).start()


def meter_of(uuid: str) -> Meter | None:
    """A meter that samples, of the GPU with that UUID; None where NVML is not there for it."""
    try:
        meter = Meter(Gpu(ctypes.CDLL(LIBRARY), uuid))
    except (OSError, NvmlError) as error:
        log.warning("the GPU's energy and use are unknown", extra={"cause": str(error)})
        return None
    meter.go_on()
    return meter


def _told(ask: Callable[[], float]) -> float | None:
    try:
        return ask()
    except NvmlError:
        return None
