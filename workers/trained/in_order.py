"""Run a function over items on several threads; return the results in the order of the items."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from workers.models.cpu_kernels import compute_alone

T = TypeVar("T")
R = TypeVar("R")
_AHEAD = 2
"""How many items there are for each thread, so that none waits for the one that reads them."""


def in_order(function: Callable[[T], R], items: Iterable[T], num_threads: int) -> Iterator[R]:
    """Yield `function(item)` for each item, in their order.

    Only a few items are read ahead, so memory is bounded. Each call runs on one thread with one
    intra-op thread, so its bits do not depend on the number of threads.
    """
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(num_threads, "predict", initializer=compute_alone)
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= _AHEAD * num_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
