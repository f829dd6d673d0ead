"""The Ray job by which `rnnjob doctor` looks around on each node of a cluster.

Each node that is alive, those without CPUs too, has one task; this process looks around beside
them. A report is printed as soon as it is there: one that never comes hides no other.
"""

import json
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from orchestrator.node_report import DRIVER, Errand, NodeReport, look_around

_MARK = "rnnjob-node-report "


def read_reports(log: str) -> list[NodeReport]:
    """The reports in what this program printed, among lines of others."""
    lines = (line for line in log.splitlines() if line.startswith(_MARK))
    return [NodeReport(**json.loads(line.removeprefix(_MARK))) for line in lines]


def main(errand: Errand) -> None:
    import ray

    ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    waiting = {_look_there(node, errand): node for node in nodes}
    with ThreadPoolExecutor(1) as beside:
        temp_dir = ray.get_runtime_context().get_temp_dir()
        own = beside.submit(lambda: _tell(look_around(DRIVER, temp_dir, errand)))
        for report in _as_they_come(waiting):
            _tell(report)
        own.result()


def _look_there(node_id: str, errand: Errand) -> Any:
    """Starts a task there and returns its reference. It takes no CPU: the node may have none."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(_look_around_here).options(
        scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False)
    )
    return task.remote(node_id, errand)


def _look_around_here(node_id: str, errand: Errand) -> NodeReport:
    import ray

    return look_around(node_id, ray.get_runtime_context().get_temp_dir(), errand)


def _as_they_come(waiting: dict[Any, str]) -> Iterable[NodeReport]:
    import ray

    left = list(waiting)
    while left:
        (done,), left = ray.wait(left)
        try:
            yield ray.get(done)
        except ray.exceptions.RayError as error:
            yield NodeReport(waiting[done], error=_one_line(error))


def _one_line(error: Exception) -> str:
    """Ray puts its own traceback around what a task raised."""
    cause = getattr(error, "cause", None) or error
    first = next((line for line in str(cause).splitlines() if line.strip()), "")
    return f"{type(cause).__name__}: {first}"


def _tell(report: NodeReport) -> None:
    print(_MARK + json.dumps(asdict(report)), flush=True)


if __name__ == "__main__":
    main(Errand(*sys.argv[1:]))
