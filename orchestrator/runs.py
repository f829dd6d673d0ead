"""Runs in a storage: their ids and states, finding and listing them."""

import os
import re
import secrets
import shlex
import socket
import time
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from typing import Any, get_type_hints

from workers.errors import InputError, NoSuchRunError, RunExistsError
from workers.jsons import misfit
from workers.run_folder import RunFolder
from workers.storage import Storage

SCHEMA_VERSION = 1
QUEUED, PENDING, RUNNING, RESTARTING = "QUEUED", "PENDING", "RUNNING", "RESTARTING"
SUCCEEDED, FAILED, STOPPED = "SUCCEEDED", "FAILED", "STOPPED"
TERMINAL = frozenset({SUCCEEDED, FAILED, STOPPED})
STATES = (QUEUED, PENDING, RUNNING, RESTARTING, SUCCEEDED, FAILED, STOPPED)
LAST = "@last"
LOCAL = "local"
"""The mode of a job in one process."""
DEFAULT_STORAGE = "./runs"
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class RunStatus:
    """What is known of a run now; content of status.json. Times are Unix seconds."""

    run_id: str
    state: str
    mode: str = ""
    reason: str = ""
    cure: str = ""
    exit_code: int | None = None
    attempt: int = 0
    workers: int | None = None
    address: str = ""
    """Of the cluster's dashboard."""
    host: str = ""
    pid: int | None = None
    pid_started: float | None = None
    keeper_pid: int | None = None
    """Of the process that starts the one above again should it die; None where nobody does."""
    keeper_started: float | None = None
    job_id: str = ""
    """Of Ray Jobs; empty where it is the run's own id."""
    submitted_at: float | None = None
    queued_at: float | None = None
    """When it was submitted or resumed last."""
    started_at: float | None = None
    ended_at: float | None = None
    error: str = ""
    """Class of the error that ended it."""
    schema_version: int = SCHEMA_VERSION

    @property
    def is_terminal(self) -> bool:
        return self.state in TERMINAL

    @property
    def has_outcome(self) -> bool:
        """Terminal by its own word, not because its process is gone."""
        return self.is_terminal and self.ended_at is not None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


_STATUS_TYPES = get_type_hints(RunStatus)


def new_run_id(name: str) -> str:
    """`<name>-<UTC time>-<4 hex digits>`."""
    now = datetime.now(timezone.utc)
    return f"{name}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def check_run_id(run_id: str) -> None:
    """Raises InputError where the id could leave the storage or confuse a shell."""
    if not _RUN_ID.fullmatch(run_id):
        raise InputError(
            f"'{run_id}' cannot be a run id",
            "use letters, digits, '.', '_' and '-', beginning with a letter or digit, 128 at most",
        )


def create_run(
    storage: Storage, run_id: str, job_yaml: str, mode: str, address: str = ""
) -> RunFolder:
    """Makes the run's folder with its spec and a first status; all of it or nothing.

    Raises:
        RunExistsError: the id is taken.
        StorageError: the storage cannot be written.
    """
    check_run_id(run_id)
    run = RunFolder(storage.child(run_id))
    if not run.storage.create_new():
        raise RunExistsError(
            f"the run '{run_id}' is already in {storage.where()}",
            "choose another --run-id, or leave it out to have one made",
        )
    try:
        run.storage.write(run.JOB, job_yaml.encode())
        now = time.time()
        status = RunStatus(run_id, QUEUED, mode, address=address, submitted_at=now, queued_at=now)
        if not address:
            # Until the job has begun, it lives and dies with this process.
            status = replace(status, **this_process())
        write_status(run, status)
    except BaseException:
        run.storage.delete()
        raise
    return run


def next_command(run: RunFolder, verb: str, *more: str) -> str:
    """A command about a run that works when it is pasted into a shell."""
    words = ["rnnjob", verb, run.run_id, *more]
    if run.storage.parent_uri != Storage(DEFAULT_STORAGE).uri:
        words += ["--storage", run.storage.parent_uri]
    return shlex.join(words)


def write_status(run: RunFolder, status: RunStatus) -> RunStatus:
    run.write_json(run.STATUS, status.to_json())
    return status


def read_status(run: RunFolder) -> RunStatus:
    """The state as written; FAILED where the process that ran it on this machine is gone.

    Raises NoSuchRunError where the folder holds no run.
    """
    content = run.read_json(run.STATUS)
    if content is None or "state" not in content:
        raise NoSuchRunError(f"{run.storage.where()} holds no run", "see rnnjob list")
    if key := misfit(content, _STATUS_TYPES):
        raise NoSuchRunError(
            f"{run.storage.where(run.STATUS)} is damaged: {key} is {str(content[key])[:80]!r}",
            "see rnnjob list",
        )
    known = {key: content[key] for key in _STATUS_TYPES if key in content}
    # Who renames a folder renames the run; and no file can send its reader to another folder.
    status = RunStatus(**{**known, "run_id": run.run_id})
    if not status.is_terminal and _is_gone(status):
        return replace(
            status,
            state=FAILED,
            exit_code=1,
            reason=f"its process (pid {status.pid}) is gone without a word",
        )
    return status


def this_process() -> dict[str, Any]:
    """The fields of RunStatus that tell who runs the job."""
    import psutil

    me = psutil.Process()
    return {"host": socket.gethostname(), "pid": me.pid, "pid_started": me.create_time()}


def keeper_process(pid: int) -> dict[str, Any]:
    """The fields that tell who starts this process again; none where that one is gone."""
    import psutil

    try:
        started = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return {}
    return {"keeper_pid": pid, "keeper_started": started} if os.getppid() == pid else {}


def _is_gone(status: RunStatus) -> bool:
    """Whether the process was one of this machine and runs no more, nor who keeps it running."""
    if status.pid is None or status.host != socket.gethostname():
        return False
    kept = status.keeper_pid is not None and _lives(status.keeper_pid, status.keeper_started)
    return not kept and not _lives(status.pid, status.pid_started)


def _lives(pid: int, started: float | None) -> bool:
    """Its start tells a process from a later one that got the same id."""
    import psutil

    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - (started or 0.0)) <= 1.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, ValueError, OverflowError):  # the latter two: a pid of no process
        return False


def list_runs(storage: Storage) -> list[RunStatus]:
    """All runs of a storage, newest first."""
    found = []
    for name in storage.list():
        if _RUN_ID.fullmatch(name):
            try:
                found.append(read_status(RunFolder(storage.child(name))))
            except NoSuchRunError:
                continue
    return sorted(found, key=lambda status: status.submitted_at or 0.0, reverse=True)


def find_run(storage: Storage, name: str) -> RunFolder:
    """The run of an id, of a prefix that only one run has, or `@last`.

    Raises NoSuchRunError.
    """
    if name != LAST and not _RUN_ID.fullmatch(name):
        raise NoSuchRunError(f"'{name}' cannot be a run id", "see rnnjob list")
    run = RunFolder(storage.child(name))
    if name != LAST and run.read_json(run.STATUS) is not None:
        return run
    ids = [status.run_id for status in list_runs(storage)]
    matches = ids[:1] if name == LAST else [run_id for run_id in ids if run_id.startswith(name)]
    if len(matches) == 1:
        return RunFolder(storage.child(matches[0]))
    if matches:
        raise NoSuchRunError(
            f"'{name}' fits {len(matches)} runs: {', '.join(matches[:4])}", "give more of the id"
        )
    what = "no run" if name == LAST else f"no run '{name}'"
    raise NoSuchRunError(
        f"{what} in {storage.where()}",
        "see rnnjob list, or name another storage: --storage (or RNNJOB_STORAGE)",
    )
