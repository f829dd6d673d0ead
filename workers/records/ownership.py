"""Take up a run, so that one process at a time owns it, and keep it until the job ends.

An owner renews its heartbeat from a thread. Whoever wants a run that is not released watches that
heartbeat over its own clock: once it stands still for `lease_s`, the owner counts as lost. A
process that is dead on this machine is seen at once. An owner that was taken for lost though it
lives, because it was suspended or cut off, finds a later record and ends.
"""

import contextlib
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from workers.errors import GoneError, JobError, RunHeldError, StorageError, TakenOverError
from workers.records.owners import (
    Fence,
    Owner,
    heartbeat_of,
    read_owner,
    record_name,
    taken_over,
)
from workers.records.processes import start_of
from workers.records.run_folder import RunFolder

log = logging.getLogger(__name__)
_BEAT_S, _REMOTE_BEAT_S = 1.0, 5.0
_LEASE_S, _REMOTE_LEASE_S = 15.0, 30.0
WhenLost = Callable[[JobError], None]


def beat_s(run: RunFolder) -> float:
    """Seconds between two heartbeats of an owner."""
    return _BEAT_S if run.storage.local_path else _REMOTE_BEAT_S


def lease_s(run: RunFolder) -> float:
    """How long a heartbeat may stand still until its owner counts as lost."""
    return _LEASE_S if run.storage.local_path else _REMOTE_LEASE_S


def wait_until_free(run: RunFolder) -> Owner | None:
    """Return the last owner of a run, once it is known to own it no more; None if there was none.

    Returns at once if it has released the run or is dead on this machine. Else it is watched for
    `lease_s`. Raises RunHeldError if it lives, StorageError.
    """
    owner = read_owner(run)
    if owner is None or owner.is_released or owner.lives is False:
        return owner
    if owner.lives:
        raise held(run, owner)
    log.warning(
        "%s was held by %s: watching for %g s whether that lives",
        run.run_id,
        owner.describe(),
        lease_s(run),
    )
    end = time.monotonic() + lease_s(run)
    while time.monotonic() < end:
        time.sleep(beat_s(run) / 2)
        now = read_owner(run)
        if now is None or now.term != owner.term or now.is_released:
            return wait_until_free(run)
        if now.beats != owner.beats:
            raise held(run, owner)
    return owner


def held(run: RunFolder, owner: Owner | None) -> RunHeldError:
    who = owner.describe() if owner else "another process"
    return RunHeldError(
        f"{run.run_id} is held by {who}",
        f"follow it: rnnjob status {run.run_id}; or stop it first: rnnjob stop {run.run_id}",
    )


def take(
    run: RunFolder, after: Owner | None, mode: str, job_id: str, is_claim: bool = False
) -> Owner:
    """Make this process the owner of a run, in one atomic act.

    Args:
        after: the last owner that was found not to hold the run.
        mode, job_id, is_claim: see `Owner`.

    Raises RunHeldError if somebody took it since, GoneError if the run was deleted, StorageError.
    """
    owner = Owner(
        term=(after.term if after else 0) + 1,
        token=secrets.token_hex(8),
        host=socket.gethostname(),
        pid=os.getpid(),
        pid_started=start_of(),
        mode=mode,
        job_id=job_id,
        is_claim=is_claim,
        taken_at=time.time(),
    )
    if not run.write_new_json(record_name(owner.term), owner.to_json()):
        raise held(run, read_owner(run))
    return owner


def take_for_job(run: RunFolder, mode: str, job_id: str) -> Owner:
    """Make this process, which runs a job, the owner of the run for which the job was started.

    The last owner must be of the same job: the client that claimed the run for it, or a process of
    the job that died. A new run has had none.

    Raises TakenOverError if the run was taken up for another job, RunHeldError if another process
    of this job lives, GoneError, StorageError.
    """
    last = read_owner(run)
    if last is not None and last.job_id != job_id:
        raise taken_over(run, last)
    if last is not None and not last.is_claim:
        last = wait_until_free(run)
    return take(run, last, mode, job_id)


def release(run: RunFolder, owner: Owner) -> None:
    """Say that an owner owns the run no more. An owner that cannot say so is found to be lost."""
    with contextlib.suppress(JobError):
        Fence(run, owner.term, owner.token).check()
        beat(run, replace(owner, beats=owner.beats + 1, is_released=True))


def release_claim(run: RunFolder) -> None:
    """Say that this process no longer keeps the run for the job that it has started.

    The job's process may have taken the run already, or do so later.
    """
    owner = read_owner(run)
    if owner is not None and owner.is_claim and owner.pid == os.getpid():
        release(run, owner)


def revoke(run: RunFolder) -> None:
    """Take a run from its owner, living or not, and keep it for nobody.

    Raises GoneError, StorageError.
    """
    while True:
        with contextlib.suppress(RunHeldError):
            release(run, take(run, read_owner(run), "", ""))
            return


def beat(run: RunFolder, owner: Owner) -> Owner:
    """Write heartbeat.json and return the owner as it is told there. Raises StorageError."""
    told = replace(owner, beat_at=time.time())
    run.write_json(run.HEARTBEAT, heartbeat_of(told))
    return told


class Ownership:
    """A context manager in the process that owns a run: keeps the run, and releases it."""

    def __init__(self, run: RunFolder, owner: Owner, when_lost: WhenLost) -> None:
        """`when_lost`: called in another thread with the reason, once the run is another's or its
        folder was deleted. This process must write nothing from then on."""
        self.fence = Fence(run, owner.term, owner.token)
        self._run, self._owner, self._when_lost = run, owner, when_lost
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="heartbeat", daemon=True)

    def _renew(self) -> None:
        while True:
            try:
                self.fence.check()
                self._owner = beat(self._run, replace(self._owner, beats=self._owner.beats + 1))
            except (TakenOverError, GoneError) as error:
                self._when_lost(error)
                return
            except StorageError:
                pass  # what else is written tells that the storage fails
            if self._done.wait(beat_s(self._run)):
                return

    def __enter__(self) -> "Ownership":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(lease_s(self._run))
        if not self._thread.is_alive():
            release(self._run, self._owner)
