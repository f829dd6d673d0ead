"""A driver keeps its logging and its signal handlers when Ray starts in it, or does not start."""

import logging
import os
import signal
from pathlib import Path

import pytest

from orchestrator.driver.ray_connection import connect_to_ray, keep_logging_and_signals
from workers.errors import ClusterError


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


def test_a_ray_that_does_not_start_is_explained_in_one_line(tmp_path: Path) -> None:
    from ray._private import node

    usual = node.Node
    (tmp_path / "file").write_text("")
    with pytest.raises(ClusterError, match=r"^Ray did not start: .*Not a directory") as failure:
        connect_to_ray(str(tmp_path / "file"), 1)
    assert "\n" not in failure.value.cause
    assert "less to do" in failure.value.cure
    assert node.Node is usual, "a Ray that somebody else starts here has all its processes"


def test_processes_start_in_advance_only_if_they_have_something_to_import(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import ray

    names = ("RAY_enable_worker_prestart", "RAY_preload_python_modules")
    for name in names:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(ray, "init", lambda **_: None)
    connect_to_ray(str(tmp_path), 1)
    assert not os.environ.keys() & set(names)
    connect_to_ray(str(tmp_path), 1, preload="json")
    assert [os.environ[name] for name in names] == ["1", "json"]


def test_of_what_an_overloaded_ray_raises_the_first_line_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import ray

    def init(**_: object) -> None:
        raise Exception("\nThe current node timed out during startup.\nThis could happen because\n")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(ClusterError) as failure:
        connect_to_ray(str(tmp_path), 1)
    assert failure.value.cause == "Ray did not start: The current node timed out during startup."
