"""A driver keeps its logging and its signal handlers when Ray starts in its process."""

import logging
import signal

from orchestrator.driver.ray_trainer import keep_logging_and_signals


def test_ray_replaces_neither_the_log_handlers_nor_the_sigterm_handler() -> None:
    def mine(*_: object) -> None:
        pass

    root = logging.getLogger()
    before, handlers = signal.signal(signal.SIGTERM, mine), root.handlers[:]
    try:
        with keep_logging_and_signals():  # as ray.init does
            signal.signal(signal.SIGTERM, lambda *_: None)
            root.handlers[:] = []
        assert signal.getsignal(signal.SIGTERM) is mine
        assert root.handlers == handlers
    finally:
        signal.signal(signal.SIGTERM, before)
