"""Gather what this machine and the run folder tell of a run, beside its record."""

import time
from collections.abc import Callable

from orchestrator import runs
from orchestrator.observe.state import Evidence, decide
from orchestrator.runs import RunStatus
from workers.records.owners import Owner, read_owner
from workers.records.ownership import beat_s, lease_s
from workers.records.run_folder import RunFolder

_FRESH_BEATS = 5
_CLOCKS_DIFFER_S = 30.0
"""How much the clocks of two machines may differ, so that no living run is taken for lost."""


def evidence_here(run: RunFolder, record: RunStatus) -> Evidence:
    """Return what is known without asking a cluster. Raises StorageError."""
    if record.is_terminal:
        return Evidence()
    process, owner = runs.process_of(record), read_owner(run)
    if owner is None or owner.is_claim:
        return Evidence(process)  # the job has not begun, or is one of an earlier version
    seen_at = owner.beat_at or owner.taken_at
    silent_s = abs(time.time() - seen_at)
    return Evidence(
        process,
        has_lease=_has_lease(run, owner, silent_s),
        is_silent=silent_s > lease_s(run) + (0.0 if owner.lives else _CLOCKS_DIFFER_S),
        is_released=owner.is_released,
        seen_at=seen_at,
    )


def _has_lease(run: RunFolder, owner: Owner, silent_s: float) -> bool | None:
    """Whether an owner keeps its run. Of one on another machine only a heartbeat tells, whose time
    is that of another clock: between fresh and long ago, it cannot be told."""
    if owner.is_released or owner.lives is False:
        return False
    if owner.lives or silent_s <= _FRESH_BEATS * beat_s(run):
        return True
    return False if silent_s > lease_s(run) + _CLOCKS_DIFFER_S else None


def state_here(run: RunFolder) -> RunStatus:
    """Return a run's state as far as it is known without its cluster.

    Raises NoSuchRunError or StorageError.
    """
    record = runs.read_status(run)
    told = decide(record, evidence_here(run, record), command_about(run))
    if told.state == record.state:
        return told
    newer = runs.read_status(run)  # it may have ended meanwhile
    return told if newer == record else decide(newer, evidence_here(run, newer), command_about(run))


def command_about(run: RunFolder) -> Callable[..., str]:
    """Return what makes a command about a run, to paste, of a verb and further words."""
    return lambda verb, *more: runs.next_command(run, verb, *more)
