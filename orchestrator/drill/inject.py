"""`python -m orchestrator.drill.inject KIND STEP DRAW RUN_URI JOB_ID`, as a Ray job beside the one
that it disturbs.

Stands by at the target's node, and strikes when the run has come to the step. What it did is the
last line that it prints.
"""

import json
import sys
import time
from dataclasses import asdict, replace
from typing import Any

import psutil

from orchestrator import runs
from orchestrator.drill.damage import newest_whole
from orchestrator.drill.faults import Strike, kill, missed
from orchestrator.drill.follower import Follower
from orchestrator.drill.plan import NODE, Fault
from orchestrator.drill.targets import Target, find_target
from workers import secrets
from workers.run_folder import RunFolder

_MARK = "rnnjob-drill "
_NODE_GONE_S = 60.0
_POLL_S = 0.5


def arguments(fault: Fault, run: RunFolder, job_id: str) -> list[str]:
    """`job_id`: what Ray Jobs calls the run."""
    return [fault.kind, str(fault.step), str(fault.draw), run.storage.uri, job_id]


def read_strike(log: str) -> Strike | None:
    """What this program printed at its end, among lines of others."""
    lines = [line for line in log.splitlines() if line.startswith(_MARK)]
    return Strike(**json.loads(lines[-1].removeprefix(_MARK))) if lines else None


def main(kind: str, step: str, draw: str, run_uri: str, job_id: str) -> None:
    import ray

    secrets.load()
    ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
    strike = _inject(Fault(kind, int(step), int(draw)), RunFolder.at(run_uri), job_id)
    print(_MARK + json.dumps(asdict(strike)), flush=True)


def _inject(fault: Fault, run: RunFolder, job_id: str) -> Strike:
    follower = Follower(run)
    over = missed("the run was over")

    def is_over() -> bool:
        return runs.read_status(run).is_terminal

    if not follower.wait_until(lambda: bool(follower.records), is_over):
        return over
    target = find_target(fault, job_id)
    if isinstance(target, str):
        return missed(target)
    striker = _striker_at(target, fault, run)
    if not follower.wait_for(fault, is_over):
        return over
    return replace(_struck(striker, target, fault, run), attempt=follower.attempt)


def _struck(striker: Any, target: Target, fault: Fault, run: RunFolder) -> Strike:
    import ray

    checkpoint = newest_whole(run)
    try:
        strike: Strike = ray.get(striker.strike.remote(), timeout=_NODE_GONE_S)
    except ray.exceptions.RayError as error:
        strike = missed(f"the striking process answered no more: {type(error).__name__}")
    if fault.kind == NODE and not strike.hit and _is_lost(target.node_id):
        # It died with its node before it could answer.
        strike = Strike(hit=True, target="its raylet killed", checkpoint=checkpoint)
    return replace(strike, target=f"{target}: {strike.target}") if strike.hit else strike


def _is_lost(node_id: str) -> bool:
    import ray

    end = time.monotonic() + _NODE_GONE_S
    while time.monotonic() < end:
        if any(node["NodeID"] == node_id and not node["Alive"] for node in ray.nodes()):
            return True
        time.sleep(_POLL_S)
    return False


class _Striker:
    """Beside the target, started before it is needed."""

    def __init__(self, pid: int, fault: Fault, run_uri: str) -> None:
        secrets.load()
        process = psutil.Process(pid)
        self._process = _raylet_above(process) if fault.kind == NODE else process
        self._fault, self._run = fault, RunFolder.at(run_uri)

    def strike(self) -> Strike:
        return kill(self._process, self._run, self._fault.kind, self._fault.draw)

    def is_ready(self) -> bool:
        return True


def _raylet_above(process: psutil.Process) -> psutil.Process:
    return next(one for one in process.parents() if one.name() == "raylet")


def _striker_at(target: Target, fault: Fault, run: RunFolder) -> Any:
    """It takes no CPU: the workers may hold all."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(target.node_id, soft=False)
    actor = ray.remote(num_cpus=0, max_restarts=0)(_Striker).options(scheduling_strategy=there)
    striker = actor.remote(target.pid, fault, run.storage.uri)
    ray.get(striker.is_ready.remote())
    return striker


if __name__ == "__main__":
    main(*sys.argv[1:])
