"""How long a part of a device's work takes, measured without waiting for the device."""

import time
from typing import Any

import torch


class Timer:
    """The seconds between `start` and `stop`, in the order of the work issued to a device."""

    def __init__(self, device: torch.device) -> None:
        is_gpu = device.type == "cuda"
        new_event: Any = torch.cuda.Event
        self._events = [new_event(enable_timing=True) for _ in range(2)] if is_gpu else []
        self._times = [0.0, 0.0]

    def start(self) -> None:
        self._mark(0)

    def stop(self) -> None:
        self._mark(1)

    def seconds(self) -> float:
        """Return the seconds. On a GPU, the work up to `stop` must have ended."""
        if self._events:
            return float(self._events[0].elapsed_time(self._events[1])) / 1000
        return self._times[1] - self._times[0]

    def _mark(self, which: int) -> None:
        if self._events:
            self._events[which].record()
        else:
            self._times[which] = time.perf_counter()
