"""What a driver keeps of its own when Ray comes up in its process."""

import logging
import signal

from orchestrator.training import own_ways


def test_ray_takes_neither_the_log_nor_sigterm_away() -> None:
    def mine(*_: object) -> None:
        pass

    root = logging.getLogger()
    before, handlers = signal.signal(signal.SIGTERM, mine), root.handlers[:]
    try:
        with own_ways():  # as ray.init does
            signal.signal(signal.SIGTERM, lambda *_: None)
            root.handlers[:] = []
        assert signal.getsignal(signal.SIGTERM) is mine
        assert root.handlers == handlers
    finally:
        signal.signal(signal.SIGTERM, before)
