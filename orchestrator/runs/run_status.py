"""The state of a run: what status.json holds, and how it is written and read."""

import os
import socket
from dataclasses import dataclass
from enum import Enum
from typing import Any, get_type_hints

from workers.errors import NoSuchRunError, RefusedFileError
from workers.records.processes import lives, start_of
from workers.records.run_folder import RunFolder
from workers.storage.typed_json import Json, mistyped_key, parse_object

SCHEMA_VERSION = 1
QUEUED, PENDING, RUNNING, RESTARTING = "QUEUED", "PENDING", "RUNNING", "RESTARTING"
SUCCEEDED, FAILED, STOPPED = "SUCCEEDED", "FAILED", "STOPPED"
_RECORDED = (QUEUED, PENDING, RUNNING, RESTARTING, SUCCEEDED, FAILED, STOPPED)
LOST, UNREACHABLE = "LOST", "UNREACHABLE"
"""What `orchestrator.observe.state` decides, and no record holds: nobody runs the run any more, and
nobody who could know answers."""
STATES = (*_RECORDED, LOST, UNREACHABLE)
TERMINAL = frozenset({SUCCEEDED, FAILED, STOPPED, LOST})

LOCAL, RAY, CLUSTER = "local", "ray", "cluster"
"""Modes: in one process; on a Ray of its own on this machine; on a cluster through Ray Jobs."""


@dataclass(frozen=True)
class RunStatus:
    """What is known of a run now. This is the content of status.json. Times are Unix seconds."""

    run_id: str
    state: str
    """QUEUED, PENDING, RUNNING, RESTARTING, SUCCEEDED, FAILED or STOPPED. A status that was
    decided, not read, may also be LOST or UNREACHABLE."""
    mode: str = ""
    """Where it runs: `local`, `ray` (on this machine) or `cluster`."""
    reason: str = ""
    """Why the run is in this state, in one line."""
    cure: str = ""
    """What the user can do next, in one line."""
    exit_code: int | None = None
    attempt: int = 0
    """How often the workers have started."""
    workers: int | None = None
    address: str = ""
    """The address of the cluster's dashboard, for a run on a cluster."""
    host: str = ""
    """The host name of the machine whose process `pid` runs the job."""
    pid: int | None = None
    pid_started: float | None = None
    """When that process started: see `workers.records.processes.start_of`."""
    keeper_pid: int | None = None
    """The parent that starts process `pid` again if it dies. None where there is no such parent."""
    keeper_started: float | None = None
    job_id: str = ""
    """The id of the job that runs it, also for Ray Jobs. Empty where it is the run's own id."""
    submitted_at: float | None = None
    queued_at: float | None = None
    """When the run was submitted or resumed last."""
    started_at: float | None = None
    ended_at: float | None = None
    stalled_since: float | None = None
    """Since when the workers of a running job take no steps. None while they do."""
    stalled: str = ""
    """After which step they stand still, and for whom they wait."""
    error: str = ""
    """The class of the error that ended the run."""
    schema_version: int = SCHEMA_VERSION

    @property
    def is_terminal(self) -> bool:
        """Whether nothing goes on: the run has ended, or was lost."""
        return self.state in TERMINAL

    @property
    def has_outcome(self) -> bool:
        """Whether it is recorded how the run ended."""
        return self.is_terminal and self.ended_at is not None

    @property
    def is_on_cluster(self) -> bool:
        """Whether the run is on a cluster now. A run that was resumed on this machine still names
        the cluster on which it began."""
        return self.mode == CLUSTER and bool(self.address)

    def to_json(self) -> dict[str, Any]:
        """Return the content of status.json."""
        return dict(vars(self))  # all values are plain; `asdict` would copy each of them


_STATUS_TYPES = get_type_hints(RunStatus)


def write_status(run: RunFolder, status: RunStatus) -> RunStatus:
    """Write status.json and return the status. Raises StorageError."""
    run.write_json(run.STATUS, status.to_json())
    return status


def read_status_file(run: RunFolder) -> Json | None:
    """Return the content of status.json; None if it is missing or not a JSON object.

    Raises NoSuchRunError if it is no file that is read, StorageError if it cannot be read.
    """
    try:
        return parse_object(run.storage.read(run.STATUS))
    except RefusedFileError as error:
        raise NoSuchRunError(error.cause, error.cure) from error
    except (FileNotFoundError, ValueError):
        return None


def read_status(run: RunFolder) -> RunStatus:
    """Read status.json: what the run's owner wrote last. Whether it still holds is for
    `orchestrator.observe.state` to decide.

    Raises NoSuchRunError if the folder holds no run, StorageError if it cannot be read.
    """
    content = read_status_file(run)
    if content is None or "state" not in content:
        raise NoSuchRunError(f"{run.storage.where()} holds no run", "see rnnjob list")
    if key := mistyped_key(content, _STATUS_TYPES):
        raise NoSuchRunError(
            f"{run.storage.where(run.STATUS)} is damaged: {key} is {str(content[key])[:80]!r}",
            "see rnnjob list",
        )
    known = {key: content[key] for key in _STATUS_TYPES if key in content}
    # The folder's name decides the id: a folder may be renamed, and what the file says must not
    # send its reader to another folder.
    return RunStatus(**{**known, "run_id": run.run_id})


def this_process() -> dict[str, Any]:
    """Return the fields of RunStatus that say that this process runs the job."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "pid_started": start_of()}


def parent_process(pid: int) -> dict[str, Any]:
    """Return the fields of RunStatus that say that the parent `pid` starts this process again.

    Returns no field if that process is no longer this one's parent.
    """
    started = start_of(pid)
    is_parent = started is not None and os.getppid() == pid
    return {"keeper_pid": pid, "keeper_started": started} if is_parent else {}


class Process(Enum):
    """What this machine knows of the process that a run's record names."""

    LIVES = "it runs here, or its parent does and will start it again"
    GONE = "it ran here, and runs no more"
    ELSEWHERE = "no process of this machine runs the run"


def process_of(status: RunStatus) -> Process:
    """Look for the process that runs a run among those of this machine."""
    if status.pid is None or status.host != socket.gethostname():
        return Process.ELSEWHERE
    has_parent = status.keeper_pid is not None and lives(status.keeper_pid, status.keeper_started)
    is_alive = has_parent or lives(status.pid, status.pid_started)
    return Process.LIVES if is_alive else Process.GONE
