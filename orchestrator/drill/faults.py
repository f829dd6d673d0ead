"""Striking a process, and what can be told of the run at that moment."""

from dataclasses import dataclass, replace

import psutil

from orchestrator.cluster.processes import lives
from orchestrator.drill.damage import damage_newest, newest_whole
from orchestrator.drill.plan import STORAGE
from workers.run_folder import RunFolder

_GONE_S = 10.0


@dataclass(frozen=True)
class Strike:
    """A fault as it was injected, or why it could not be."""

    hit: bool
    target: str = ""
    """What was hit, in words."""
    checkpoint: int = 0
    """The newest whole one that was left, so that no step up to it may be lost."""
    damaged: int | None = None
    """The step of the checkpoint that was damaged."""
    note: str = ""
    attempt: int = 0
    """Which start of the workers it hit."""


def missed(why: str) -> Strike:
    return Strike(hit=False, note=why)


def kill(process: psutil.Process, run: RunFolder, kind: str, draw: int) -> Strike:
    """Ends a process at once, like a machine that is lost; verified: what lives on was not hit.

    For STORAGE the newest checkpoint is damaged first, while the process stands still.
    """
    try:
        name = f"pid {process.pid} ({process.name()})"
        strike = _damaged(process, run, draw) if kind == STORAGE else _as_it_is(run)
        if not strike.hit:
            process.resume()
            return strike
        process.kill()
    except psutil.NoSuchProcess:
        return missed(f"pid {process.pid} had ended before")
    except psutil.AccessDenied:
        return missed(f"pid {process.pid} may not be killed by this user")
    psutil.wait_procs([process], timeout=_GONE_S)
    if lives(process):
        return missed(f"{name} lives on")
    return replace(strike, target=f"{strike.target}{name} killed")


def _as_it_is(run: RunFolder) -> Strike:
    return Strike(hit=True, checkpoint=newest_whole(run))


def _damaged(process: psutil.Process, run: RunFolder, draw: int) -> Strike:
    process.suspend()
    damage = damage_newest(run, draw)
    if damage is None:
        return missed("there was no checkpoint to damage")
    target = f"checkpoint {damage.step}: {damage.what}; "
    return Strike(True, target, newest_whole(run), damaged=damage.step)
