"""The device call in progress, which other threads may watch."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

Stage = Literal["text_encoder", "denoise", "vae", "whole"]
"""The stage of a call; `whole` is a call of a pipeline that has no step loop."""


@dataclass(frozen=True, slots=True)
class DeviceCall:
    """A call of the device that has not returned.

    `began` is of `time.monotonic`. `expected_seconds` follows from the measured speed.
    """

    stage: Stage
    began: float
    expected_seconds: float


class DeviceCalls:
    """The call in progress: the engine's thread writes it, any thread may read it."""

    def __init__(self) -> None:
        self._current: DeviceCall | None = None

    @property
    def current(self) -> DeviceCall | None:
        """The call in progress; None while the device is idle."""
        return self._current

    @contextmanager
    def during(self, stage: Stage, expected_seconds: float) -> Iterator[DeviceCall]:
        """Shows a call for the duration of the block."""
        self._current = call = DeviceCall(stage, time.monotonic(), expected_seconds)
        try:
            yield call
        finally:
            self._current = None
