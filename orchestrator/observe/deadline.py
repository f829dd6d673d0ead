"""Ask something that may never answer."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

K = TypeVar("K")
T = TypeVar("T")


def ask_within(deadline_s: float, questions: Mapping[K, Callable[[], T]]) -> dict[K, T]:
    """Ask all questions side by side, and return the answers that came within the deadline.

    Each runs in a thread of its own, which is left behind if it is late: a name server or a proxy
    that does not answer has no timeout that could be set. A question must not raise.
    """
    answers: dict[K, T] = {}

    def ask(key: K, question: Callable[[], T]) -> None:
        answers[key] = question()

    end = time.monotonic() + deadline_s
    threads = [threading.Thread(target=ask, args=item, daemon=True) for item in questions.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return dict(answers)
