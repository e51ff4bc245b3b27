"""Energy and busy time of a GPU, with a stand-in for NVML."""

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from diffusion_serving.documents.serving_config import ServingConfig
from diffusion_serving.engine_process.startup import make_engine
from diffusion_serving.observability import usage
from diffusion_serving.observability.device_calls import DeviceCalls
from diffusion_serving.observability.metrics import DeviceUse, make_metrics
from diffusion_serving.observability.nvml import Gpu, Meter, NvmlError, meter_of

NOT_SUPPORTED, NOT_FOUND = 3, 6


class Nvml:
    """NVML's functions with one GPU that has used `millijoules` and is `percent` busy."""

    def __init__(self) -> None:
        self.millijoules: int | None = 5_000
        self.percent: int | None = 40
        self.used: int | None = 3 * 2**30

    def nvmlInit_v2(self) -> int:  # noqa: N802 - the names are NVML's, here and below
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, handle: Any) -> int:  # noqa: N802
        if uuid != b"GPU-1":
            return NOT_FOUND
        handle._obj.value = 77
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(  # noqa: N802
        self, device: ctypes.c_void_p, energy: Any
    ) -> int:
        assert device.value == 77
        if self.millijoules is None:
            return NOT_SUPPORTED
        energy._obj.value = self.millijoules
        return 0

    def nvmlDeviceGetUtilizationRates(self, device: ctypes.c_void_p, rates: Any) -> int:  # noqa: N802
        assert device.value == 77
        if self.percent is None:
            return NOT_SUPPORTED
        rates._obj.gpu = self.percent
        return 0

    def nvmlDeviceGetMemoryInfo(self, device: ctypes.c_void_p, memory: Any) -> int:  # noqa: N802
        assert device.value == 77
        if self.used is None:
            return NOT_SUPPORTED
        memory._obj.used = self.used
        return 0


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_meter_reports_energy_and_busy_time_since_it_was_made() -> None:
    nvml, clock = Nvml(), Clock()
    meter = Meter(Gpu(nvml, "GPU-1"), clock)
    assert meter.use() == DeviceUse(0.0, 0.0)
    nvml.millijoules = 12_500
    clock.now += 10
    meter.sample()
    nvml.percent = 100
    clock.now += 2
    meter.sample()
    assert meter.use() == DeviceUse(7.5, 6.0)


def test_use_of_a_gpu_without_readings_is_unknown_and_not_zero() -> None:
    nvml = Nvml()
    nvml.millijoules = nvml.percent = None
    meter = Meter(Gpu(nvml, "GPU-1"))
    meter.sample()
    assert meter.use() == DeviceUse(None, None)


def test_gpu_reports_the_memory_in_use_or_that_it_does_not_tell() -> None:
    nvml = Nvml()
    assert Gpu(nvml, "GPU-1").memory_bytes() == 3 * 2**30
    nvml.used = None
    with pytest.raises(NvmlError, match="nvmlDeviceGetMemoryInfo: 3"):
        Gpu(nvml, "GPU-1").memory_bytes()


def test_gpu_that_nvml_does_not_know_is_refused() -> None:
    with pytest.raises(NvmlError, match="nvmlDeviceGetHandleByUUID: 6"):
        Gpu(Nvml(), "GPU-2")


def test_machine_without_nvml_has_no_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffusion_serving.observability.nvml.LIBRARY", "libnothing.so")
    assert meter_of("GPU-1") is None


MakeFake = Callable[[], Any]


def _loaded(pipeline: Any, _: ServingConfig, __: int) -> Any:
    return pipeline


def about_usage(make_fake: MakeFake, *uses: DeviceUse | None) -> dict[str, Any]:
    """The usage that /about reports for devices with these uses."""
    config = ServingConfig.model_validate({"model": {"path": "/m"}, "device": "cuda"})
    families: list[Any] = []
    for use in uses:  # each device has its own engine, as it has its own process
        metrics, pipeline = make_metrics(), make_fake()
        pipeline.device_use = use
        engine = make_engine(config, metrics, DeviceCalls(), partial(_loaded, pipeline))
        engine.start()
        engine.ready.result(30)
        assert engine.stop(30)
        families += metrics.registry.collect()
    return usage.usage(families)


def test_about_and_metrics_report_the_use_of_all_devices(make_fake: MakeFake) -> None:
    reported = about_usage(make_fake, DeviceUse(2.0, 1.5), DeviceUse(3.0, 1.5))
    assert (reported["energy_joules"], reported["device_busy_seconds"]) == (5.0, 3.0)


def test_unknown_energy_is_null(make_fake: MakeFake) -> None:
    reported = about_usage(make_fake, DeviceUse(None, 1.5))
    assert (reported["energy_joules"], reported["device_busy_seconds"]) == (None, 1.5)
    assert about_usage(make_fake, None)["device_busy_seconds"] is None
