"""The energy and busy time of a GPU, by the library that NVIDIA's driver brings with it."""

import ctypes
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from diffusion_serving.observability.metrics import DeviceUse

log = logging.getLogger("diffusion_serving")

LIBRARY = "libnvidia-ml.so.1"
_SAMPLE_SECONDS = 0.5
"""NVML's own figure covers the last sixth of a second to a second, by the GPU."""
_MILLIJOULES = 1000.0
_PERCENT = 100.0


class NvmlError(Exception):
    """NVML refused a call; the message is the function's name and NVML's error number."""


class _Utilisation(ctypes.Structure):
    """NVML's `nvmlUtilization_t`: percent of the time in which kernels ran, or memory was used."""

    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class _Memory(ctypes.Structure):
    """NVML's `nvmlMemory_t`, in bytes."""

    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


class Gpu:
    """A GPU of this machine. Its methods may be called on any thread.

    Args:
        library: NVML, or an object with its functions.
        uuid: the UUID of the GPU, such as `GPU-12345678-…`.

    Raises:
        NvmlError: NVML can't be used, or knows no such GPU.

    """

    def __init__(self, library: Any, uuid: str) -> None:
        self._library = library
        self._handle = ctypes.c_void_p()
        self._call("nvmlInit_v2")
        self._call("nvmlDeviceGetHandleByUUID", uuid.encode(), ctypes.byref(self._handle))

    def joules(self) -> float:
        """Reads the energy since the driver was loaded.

        Raises:
            NvmlError: the GPU has no such meter, as GPUs before Volta and parts of a GPU.

        """
        spent = ctypes.c_ulonglong()
        self._call("nvmlDeviceGetTotalEnergyConsumption", self._handle, ctypes.byref(spent))
        return spent.value / _MILLIJOULES

    def busy(self) -> float:
        """Reads the share of the last moments in which the GPU ran anything, of 1.

        Raises:
            NvmlError: the GPU has no such meter.

        """
        utilisation = _Utilisation()
        self._call("nvmlDeviceGetUtilizationRates", self._handle, ctypes.byref(utilisation))
        return int(utilisation.gpu) / _PERCENT

    def memory_bytes(self) -> int:
        """Reads the memory in use, of all processes and the driver.

        Raises:
            NvmlError: the GPU does not tell, as a part of one.

        """
        memory = _Memory()
        self._call("nvmlDeviceGetMemoryInfo", self._handle, ctypes.byref(memory))
        return int(memory.used)

    def _call(self, name: str, *arguments: Any) -> None:
        if code := getattr(self._library, name)(*arguments):
            raise NvmlError(f"{name}: {code}")


class Meter:
    """Adds up a GPU's energy and busy time since the meter was created.

    Other users of the same GPU are counted too.
    """

    def __init__(self, gpu: Gpu, clock: Callable[[], float] = time.monotonic) -> None:
        self._gpu = gpu
        self._clock = clock
        self._first_joules = _reading(gpu.joules)
        self._busy_seconds = None if _reading(gpu.busy) is None else 0.0
        self._sampled = clock()

    def use(self) -> DeviceUse:
        """Returns the energy and busy time so far."""
        joules = None if self._first_joules is None else _reading(self._gpu.joules)
        if joules is not None and self._first_joules is not None:
            joules -= self._first_joules
        return DeviceUse(joules, self._busy_seconds)

    def sample(self) -> None:
        """Counts the GPU as busy since the last sample as it is now."""
        now = self._clock()
        if self._busy_seconds is not None and (share := _reading(self._gpu.busy)) is not None:
            self._busy_seconds += share * (now - self._sampled)
        self._sampled = now

    def start(self) -> None:
        """Starts to sample, on a thread of its own."""

        def sample() -> None:
            while True:
                time.sleep(_SAMPLE_SECONDS)
                self.sample()

        threading.Thread(target=sample, name="meter", daemon=True).start()


def gpu_of(uuid: str) -> Gpu | None:
    """Returns the GPU with that UUID; None where NVML knows none."""
    try:
        return Gpu(ctypes.CDLL(LIBRARY), uuid)
    except (OSError, NvmlError) as error:
        log.warning("the GPU's energy and use are unknown", extra={"cause": str(error)})
        return None


def meter_of(uuid: str) -> Meter | None:
    """Returns a running meter of the GPU with that UUID; None where NVML has none for it."""
    if (gpu := gpu_of(uuid)) is None:
        return None
    meter = Meter(gpu)
    meter.start()
    return meter


def _reading(read: Callable[[], float]) -> float | None:
    try:
        return read()
    except NvmlError:
        return None
