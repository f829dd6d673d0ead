"""The Ray job with which `rnnjob doctor` inspects each node of a cluster.

It starts one task on each node that is alive, even on a node without CPUs, and inspects its own
process meanwhile. It prints each report as soon as that arrives, so that a node that never answers
does not hold up the others.
"""

import json
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from orchestrator.doctor.node_report import DRIVER, NodeReport, StorageTask, make_report

_MARK = "rnnjob-node-report "


def read_reports(log: str) -> list[NodeReport]:
    """Return the reports in the output of this program, which may have other lines, too."""
    lines = (line for line in log.splitlines() if line.startswith(_MARK))
    return [NodeReport(**json.loads(line.removeprefix(_MARK))) for line in lines]


def main(storage_task: StorageTask) -> None:
    import ray

    ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    waiting = {_start_task(node, storage_task): node for node in nodes}
    with ThreadPoolExecutor(1) as executor:
        temp_dir = ray.get_runtime_context().get_temp_dir()
        own = executor.submit(lambda: _print(make_report(DRIVER, temp_dir, storage_task)))
        for report in _as_they_arrive(waiting):
            _print(report)
        own.result()


def _start_task(node_id: str, storage_task: StorageTask) -> Any:
    """Start a task on a node and return its reference. It takes no CPU: the node may have none."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(_report_from_task).options(
        scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False)
    )
    return task.remote(node_id, storage_task)


def _report_from_task(node_id: str, storage_task: StorageTask) -> NodeReport:
    import ray

    return make_report(node_id, ray.get_runtime_context().get_temp_dir(), storage_task)


def _as_they_arrive(waiting: dict[Any, str]) -> Iterable[NodeReport]:
    import ray

    pending = list(waiting)
    while pending:
        (done,), pending = ray.wait(pending)
        try:
            yield ray.get(done)
        except ray.exceptions.RayError as error:
            yield NodeReport(waiting[done], error=_one_line(error))


def _one_line(error: Exception) -> str:
    """Return the task's own error in one line, without the traceback that Ray adds to it."""
    cause = getattr(error, "cause", None) or error
    first = next((line for line in str(cause).splitlines() if line.strip()), "")
    return f"{type(cause).__name__}: {first}"


def _print(report: NodeReport) -> None:
    print(_MARK + json.dumps(asdict(report)), flush=True)


if __name__ == "__main__":
    main(StorageTask(*sys.argv[1:]))
