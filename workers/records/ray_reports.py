"""How workers on Ray tell their driver what they do: through Ray's own table of keys and values.

An actor for this would be a process more for each job, and a file a request more for each worker
and second. A worker that was suspended, or whose machine is gone, tells nothing.
"""

import contextlib
import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence

import ray
from ray.exceptions import RayError
from ray.experimental import internal_kv
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from workers.records.activity import Activity, Report
from workers.storage.typed_json import parse_object

log = logging.getLogger(__name__)
EVERY_S = 1.0
_TIMEOUT_S = 30.0
_NAMESPACE = "rnnjob"
_FAILURES = (RayError, RuntimeError, ValueError, AssertionError, AttributeError)
"""What the table raises while Ray starts, ends, or has lost its head."""


@contextlib.contextmanager
def reporting(topic: str, rank: int, activity: Activity) -> Iterator[None]:
    """Report what this worker does until the context ends. `topic`: what the driver reads.

    The first report is there when the context begins. So what was reported by a worker of the same
    rank before is gone once all workers have started.
    """
    done = threading.Event()
    who = (rank, socket.gethostname(), os.getpid(), ray.get_runtime_context().get_node_id())

    def report(beats: int) -> None:
        text = json.dumps(activity.report(*who, beats).to_json())
        with contextlib.suppress(*_FAILURES):
            internal_kv._internal_kv_put(f"{topic}/{rank}", text, namespace=_NAMESPACE)

    def go_on_reporting() -> None:
        beats = 0
        while not done.wait(EVERY_S):
            beats += 1
            report(beats)

    report(0)
    thread = threading.Thread(target=go_on_reporting, name="reports", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(EVERY_S)


def read_reports(topic: str) -> list[Report]:
    """Return the last report of each worker. Empty if Ray cannot be asked.

    These are two requests, however many workers there are.
    """
    with contextlib.suppress(*_FAILURES):
        keys = internal_kv._internal_kv_list(f"{topic}/", namespace=_NAMESPACE)
        table = internal_kv.internal_kv_get_gcs_client()
        texts = table.internal_kv_multi_get(keys, _NAMESPACE.encode()).values() if keys else ()
        return [report for report in map(_parsed, texts) if report]
    return []


def _parsed(text: bytes) -> Report | None:
    """Return the report, or None if the text is none. A damaged one hides no other."""
    with contextlib.suppress(ValueError):
        return Report.from_json(parse_object(text))
    return None


def forget_reports(topic: str) -> None:
    """Remove all reports on a topic."""
    with contextlib.suppress(*_FAILURES):
        internal_kv._internal_kv_del(f"{topic}/", del_by_prefix=True, namespace=_NAMESPACE)


def end_workers(reports: Sequence[Report]) -> None:
    """Kill each worker that reported, on its node. Ray Train then starts all of them again.

    SIGKILL, since a worker that is suspended handles no other signal.
    """
    tasks = []
    for report in reports:
        where = NodeAffinitySchedulingStrategy(report.node, soft=False)
        task = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=where)(_kill)
        tasks.append(task.remote(report.pid))
    with contextlib.suppress(RayError):
        ray.wait(tasks, num_returns=len(tasks), timeout=_TIMEOUT_S)


def _kill(pid: int) -> None:
    if pid <= 1:  # it would mean many processes
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
