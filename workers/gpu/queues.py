"""Queues of a GPU: work in one queue runs in order, and beside the work of the other queues.

A queue is a CUDA stream. What is done again and again in it is recorded once, as a CUDA graph.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch

_WARM_UPS = 2
"""Runs before a function is recorded. The first ones load kernels and create handles."""


class Queue(Protocol):
    """A queue of a device, as `workers.gpu.shard_rows` needs it."""

    def work(self) -> contextlib.AbstractContextManager[None]:
        """Put what is issued inside into this queue, after all that was issued outside before."""
        ...

    def join(self) -> None:
        """Let what is issued from now on wait for all work of this queue."""
        ...

    def repeatable(self, function: Callable[[], None]) -> Callable[[], None]:
        """Return a function that does the same as the given one, as often as it is called.

        The given function must read its inputs from the same tensors each time and write its
        results into the same tensors. It may be called several times before this returns.
        """
        ...


class CudaQueue:
    """A CUDA stream of its own."""

    def __init__(self, device: torch.device, with_graphs: bool = True) -> None:
        """`with_graphs=False` issues all kernels one by one, which gives the same bits."""
        self._device, self._with_graphs = device, with_graphs
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._begun, self._ended = torch.cuda.Event(), torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._memory: Any = None

    @contextlib.contextmanager
    def work(self) -> Iterator[None]:
        self._begun.record(torch.cuda.current_stream(self._device))
        self._stream.wait_event(self._begun)
        with torch.cuda.stream(self._stream):
            yield
        self._ended.record(self._stream)

    def join(self) -> None:
        torch.cuda.current_stream(self._device).wait_event(self._ended)

    def repeatable(self, function: Callable[[], None]) -> Callable[[], None]:
        with self.work():
            for _ in range(_WARM_UPS):
                function()
        torch.cuda.synchronize(self._device)
        if not self._with_graphs:
            return function
        # Each function is a graph of its own. Within one graph, the streams that cuDNN opens for
        # itself would make the work of one queue wait for that of another.
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(
            graph, self._memory, stream=self._stream, capture_error_mode="thread_local"
        ):
            function()
        # The graphs of a queue run one after the other, so they may use the same memory.
        self._memory = graph.pool()
        return _Recorded(graph, function)


@dataclass(frozen=True)
class _Recorded:
    """A recorded function. The graph has the addresses of the function's tensors, not the tensors:
    they would be freed with the function, and the graph would write into the memory of others."""

    graph: torch.cuda.CUDAGraph
    function: Callable[[], None]

    def __call__(self) -> None:
        self.graph.replay()
