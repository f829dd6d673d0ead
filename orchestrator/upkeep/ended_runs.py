"""What the run folders hold that nothing needs. Of a run that goes on, nothing is touched."""

import re
from collections.abc import Callable, Iterator
from functools import partial

from orchestrator import runs
from orchestrator.runs import RunStatus
from orchestrator.upkeep.unneeded import CHECKPOINT, LEFTOVER, LOGS, Cutoff, Unneeded
from workers.checkpoints.stored import is_whole, saved_steps, step_name
from workers.errors import NoSuchRunError
from workers.records.owners import read_owner
from workers.records.run_folder import RunFolder

_TEMPORARY = re.compile(r"(?:.*/)?\.[^/]+\.[0-9a-f]{8}")
"""A file that is written beside the one that it is to replace."""


def unneeded_of_run(run: RunFolder, status: RunStatus, cutoff: Cutoff) -> Iterator[Unneeded]:
    """Yield what an ended run neither shows, nor goes on from, nor is used with.

    `status`: the one that holds, which for a lost run is not the one that is recorded.

    Raises StorageError.
    """
    ended = status.ended_at or status.submitted_at or 0.0
    if not status.is_terminal or ended >= cutoff.time:
        return
    has_ended = partial(_is_as_before, run, _record(run))
    yield from _checkpoints(run, cutoff, has_ended)
    if status.state == runs.SUCCEEDED:
        yield from _folder(run, run.LOGS, LOGS, f"{run.run_id} has SUCCEEDED", cutoff, has_ended)
    yield from _folder(
        run, run.RAY_TRAIN, LEFTOVER, f"of a killed driver of {run.run_id}", cutoff, has_ended
    )
    yield from _temporary_files(run, cutoff, has_ended)


def _record(run: RunFolder) -> tuple[RunStatus, int] | None:
    """Return the status that is recorded and how often the run was taken up; None if it is gone.

    The recorded status of a lost run is that of its last sign of life.
    """
    try:
        owner = read_owner(run)
        return runs.read_status(run), owner.term if owner else 0
    except NoSuchRunError:
        return None


def _is_as_before(run: RunFolder, before: tuple[RunStatus, int] | None) -> bool:
    """Whether the run was not taken up again meanwhile."""
    return before is not None and _record(run) == before


def _checkpoints(
    run: RunFolder, cutoff: Cutoff, has_ended: Callable[[], bool]
) -> Iterator[Unneeded]:
    """Yield all checkpoints but the newest whole one, if there is one.

    A run goes on from it, and it has the weights of the best epoch, too (RUN:best).
    """
    checkpoints = run.storage.child(run.CHECKPOINTS)
    steps = saved_steps(checkpoints)
    if len(steps) < 2:
        return
    newest = next((s for s in reversed(steps) if is_whole(checkpoints.child(step_name(s)))), None)
    for step in steps if newest is not None else ():
        if step != newest:
            why = f"the one of step {newest} is whole, and all that {run.run_id} needs"
            folder = checkpoints.child(step_name(step))
            yield from cutoff.unneeded(CHECKPOINT, folder, why, is_still_unneeded=has_ended)


def _folder(
    run: RunFolder,
    name: str,
    kind: str,
    why: str,
    cutoff: Cutoff,
    has_ended: Callable[[], bool],
) -> Iterator[Unneeded]:
    if run.storage.exists(name):
        folder = run.storage.child(name)
        yield from cutoff.unneeded(kind, folder, why, is_still_unneeded=has_ended)


def _temporary_files(
    run: RunFolder, cutoff: Cutoff, has_ended: Callable[[], bool]
) -> Iterator[Unneeded]:
    for file in run.storage.files():
        if _TEMPORARY.fullmatch(file.name) and file.modified < cutoff.time:
            yield Unneeded(
                LEFTOVER,
                run.storage.where(file.name),
                "of a process that was killed",
                file.size,
                run.storage,
                file.name,
                has_ended,
            )
