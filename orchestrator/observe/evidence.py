"""Gather what this machine and the run folder tell of a run, beside its record."""

from collections.abc import Callable

from orchestrator import runs
from orchestrator.observe.state import Evidence, decide
from orchestrator.runs import RunStatus
from workers.records.run_folder import RunFolder


def evidence_here(run: RunFolder, record: RunStatus) -> Evidence:
    """Return what is known without asking a cluster. Raises StorageError."""
    if record.is_terminal:
        return Evidence()
    return Evidence(runs.process_of(record))


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
