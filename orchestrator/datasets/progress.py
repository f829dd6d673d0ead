"""How far preparing a data set is, and work on several threads whose results come in order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

Tell = Callable[[str, int, int], None]
"""Is told what is done to the rows, to how many it was done, and how many there are."""


def tell_nobody(what: str, done: int, total: int) -> None:
    pass


def num_threads() -> int:
    """Return the number of CPUs that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def read_ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield the items of an iterator, whose next one is made by another thread meanwhile."""
    done = object()
    with ThreadPoolExecutor(1) as pool:
        coming: Future[Any] = pool.submit(next, items, done)
        while (item := coming.result()) is not done:
            coming = pool.submit(next, items, done)
            yield item


def in_order(
    pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T]
) -> Iterator[R]:
    """Yield `function(item)` for each item, in their order. Only a few are computed ahead."""
    ahead = 2 * num_threads()
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
