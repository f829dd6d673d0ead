"""Kill or suspend a process of a run, and record the state of the run at that moment."""

import time
from dataclasses import dataclass, replace

import psutil

from orchestrator.cluster.local_processes import is_alive
from orchestrator.drill.checkpoint_damage import damage_newest, newest_intact_step
from orchestrator.drill.fault_schedule import STORAGE, SUSPEND
from workers.records.run_folder import RunFolder

_GONE_S = 10.0
SUSPENDED_S = 20.0
"""Longer than the lease of a run on a local storage."""


@dataclass(frozen=True)
class Injection:
    """What injecting a fault did, or why the fault could not be injected."""

    hit: bool
    target: str = ""
    """A description of what was hit."""
    checkpoint: int = 0
    """The step of the newest intact checkpoint that was left. No step up to it may be repeated."""
    damaged: int | None = None
    """The step of the checkpoint that was damaged; None if none was."""
    note: str = ""
    """Why the fault was not injected."""
    attempt: int = 0
    """The number of the start of the workers that the fault hit, from 1."""
    until: float | None = None
    """The Unix time at which a suspended process went on; None if a process was killed."""


def missed(why: str) -> Injection:
    return Injection(hit=False, note=why)


def hit(process: psutil.Process, run: RunFolder, kind: str, draw: int) -> Injection:
    """Suspend a process for `SUSPENDED_S` if that is the kind of the fault, and else kill it."""
    return suspend(process, run) if kind == SUSPEND else kill(process, run, kind, draw)


def suspend(process: psutil.Process, run: RunFolder) -> Injection:
    """Suspend a process for `SUSPENDED_S`, as if its machine slept."""
    try:
        name = f"pid {process.pid} ({process.name()})"
        process.suspend()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return missed(f"pid {process.pid} had already ended, or is another user's")
    injection = _without_damage(run)
    time.sleep(SUSPENDED_S)
    try:
        process.resume()
    except psutil.NoSuchProcess:
        return missed(f"{name} was killed while it was suspended")
    target = f"{name} suspended for {SUSPENDED_S:g} s"
    return replace(injection, target=target, until=time.time())


def kill(process: psutil.Process, run: RunFolder, kind: str, draw: int) -> Injection:
    """Kill a process at once, as if its machine were lost, and verify that it is gone.

    For STORAGE, damage the newest checkpoint first, while the process is suspended.
    """
    try:
        name = f"pid {process.pid} ({process.name()})"
        injection = _with_damage(process, run, draw) if kind == STORAGE else _without_damage(run)
        if not injection.hit:
            process.resume()
            return injection
        process.kill()
    except psutil.NoSuchProcess:
        return missed(f"pid {process.pid} had already ended")
    except psutil.AccessDenied:
        return missed(f"pid {process.pid} may not be killed by this user")
    psutil.wait_procs([process], timeout=_GONE_S)
    if is_alive(process):
        return missed(f"{name} is still alive")
    return replace(injection, target=f"{injection.target}{name} killed")


def _without_damage(run: RunFolder) -> Injection:
    return Injection(hit=True, checkpoint=newest_intact_step(run))


def _with_damage(process: psutil.Process, run: RunFolder, draw: int) -> Injection:
    process.suspend()
    damage = damage_newest(run, draw)
    if damage is None:
        return missed("there was no checkpoint to damage")
    target = f"checkpoint {damage.step}: {damage.description}; "
    return Injection(True, target, newest_intact_step(run), damaged=damage.step)
