"""The Ray job that injects a fault into a run on the same cluster.

It is started with `python -m orchestrator.drill.inject KIND STEP DRAW RUN_URI JOB_ID`. It starts an
actor on the target's node, waits until the run has reached the step, and lets the actor inject the
fault. The last line that it prints says what it did.
"""

import json
import sys
import time
from dataclasses import asdict, replace
from typing import Any

import psutil

from orchestrator import runs
from orchestrator.drill.checkpoint_damage import newest_intact_step
from orchestrator.drill.fault_schedule import NODE, SUPERVISOR, Fault
from orchestrator.drill.faults import Injection, hit, missed
from orchestrator.drill.follower import Follower
from orchestrator.drill.targets import NO_DRIVER, NO_WORKER, Target, find_target
from workers import secrets
from workers.records.run_folder import RunFolder

_MARK = "rnnjob-drill "
_SUPERVISOR = "orchestrator.driver.supervisor"
_NODE_GONE_S = 60.0
_TABLES_LAG_S = 30.0
_POLL_S = 0.5


def arguments(fault: Fault, run: RunFolder, job_id: str) -> list[str]:
    """Return the arguments of `main`. `job_id`: the id of the run in Ray Jobs."""
    return [fault.kind, str(fault.step), str(fault.draw), run.storage.uri, job_id]


def read_injection(log: str) -> Injection | None:
    """Return what this program printed last; None if its output has no such line."""
    lines = [line for line in log.splitlines() if line.startswith(_MARK)]
    return Injection(**json.loads(lines[-1].removeprefix(_MARK))) if lines else None


def main(kind: str, step: str, draw: str, run_uri: str, job_id: str) -> None:
    import ray

    secrets.load()
    ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
    injection = _inject(Fault(kind, int(step), int(draw)), RunFolder.at(run_uri), job_id)
    print(_MARK + json.dumps(asdict(injection)), flush=True)


def _inject(fault: Fault, run: RunFolder, job_id: str) -> Injection:
    follower = Follower(run)
    over = missed("the run was over")

    def is_over() -> bool:
        return runs.read_status(run).is_terminal

    if not follower.wait_until(lambda: bool(follower.records), is_over):
        return over
    target = _wait_for_target(fault, job_id)
    if isinstance(target, str):
        return missed(target)
    injector = _start_injector(target, fault, run)
    if not follower.wait_for(fault, is_over):
        return over
    return replace(_inject_now(injector, target, fault, run), attempt=follower.attempt)


def _wait_for_target(fault: Fault, job_id: str) -> Target | str:
    """Return the target, or why there is none. Ray's tables lag behind what was started."""
    end = time.monotonic() + _TABLES_LAG_S
    while True:
        target = find_target(fault, job_id)
        if target not in (NO_DRIVER, NO_WORKER) or time.monotonic() > end:
            return target
        time.sleep(_POLL_S)


def _inject_now(injector: Any, target: Target, fault: Fault, run: RunFolder) -> Injection:
    import ray

    checkpoint = newest_intact_step(run)
    try:
        injection: Injection = ray.get(injector.inject.remote(), timeout=_NODE_GONE_S)
    except ray.exceptions.RayError as error:
        injection = missed(f"the injecting process stopped answering: {type(error).__name__}")
    if fault.kind == NODE and not injection.hit and _is_lost(target.node_id):
        # The injecting process died with its node before it could answer.
        injection = Injection(hit=True, target="its raylet killed", checkpoint=checkpoint)
    if not injection.hit:
        return injection
    return replace(injection, target=f"{target}: {injection.target}")


def _is_lost(node_id: str) -> bool:
    import ray

    end = time.monotonic() + _NODE_GONE_S
    while time.monotonic() < end:
        if any(node["NodeID"] == node_id and not node["Alive"] for node in ray.nodes()):
            return True
        time.sleep(_POLL_S)
    return False


class _Injector:
    """An actor on the target's node. It is started early, so that it can inject without delay."""

    def __init__(self, pid: int, fault: Fault, run_uri: str) -> None:
        secrets.load()
        self._process = _process_to_hit(psutil.Process(pid), fault.kind)
        self._fault, self._run = fault, RunFolder.at(run_uri)

    def inject(self) -> Injection:
        return hit(self._process, self._run, self._fault.kind, self._fault.draw)

    def is_ready(self) -> bool:
        return True


def _process_to_hit(process: psutil.Process, kind: str) -> psutil.Process:
    """Return the target's process, its raylet, or the supervisor that started it."""
    if kind == NODE:
        return next(parent for parent in process.parents() if parent.name() == "raylet")
    if kind == SUPERVISOR:
        return next(parent for parent in process.parents() if _SUPERVISOR in parent.cmdline())
    return process


def _start_injector(target: Target, fault: Fault, run: RunFolder) -> Any:
    """Start the actor and wait until it is ready. It takes no CPU: the workers may hold all."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    on_node = NodeAffinitySchedulingStrategy(target.node_id, soft=False)
    actor = ray.remote(num_cpus=0, max_restarts=0)(_Injector).options(scheduling_strategy=on_node)
    injector = actor.remote(target.pid, fault, run.storage.uri)
    ray.get(injector.is_ready.remote())
    return injector


if __name__ == "__main__":
    main(*sys.argv[1:])
