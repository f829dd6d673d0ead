"""Read the next items in threads, while what was read before is computed with."""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")


class ReadAhead(Generic[T]):
    """The results of calls in their order, a few of which are made before they are asked for."""

    def __init__(self, calls: Iterable[Callable[[], T]], ahead: int, num_threads: int) -> None:
        """`ahead`: how many results there are at most that nobody took, with those being made."""
        self._calls = iter(calls)
        self._pool = ThreadPoolExecutor(num_threads, "read-ahead")
        self._waiting: deque[Future[T]] = deque(
            self._pool.submit(call) for call in islice(self._calls, ahead)
        )

    def take(self) -> T:
        """Return the next result. Raises what its call raised, and again if asked again."""
        result = self._waiting[0].result()
        self._waiting.popleft()
        if (call := next(self._calls, None)) is not None:
            self._waiting.append(self._pool.submit(call))
        return result

    def close(self) -> None:
        """Begin no further call, and drop what nobody took. A call that hangs is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._waiting.clear()
