"""Who owns a run: the records of its owners, and the check that one of them still is.

::

    owners/<term>.json   who took the run up; the highest term is the owner
    heartbeat.json       that the owner lives: it counts up, and says when the owner let go

A record is created by one process only and never changes, so a process that reads its own record
and finds no later one owns the run. Clocks play no part in this: those of two machines differ.
"""

import re
import socket
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from typing import get_type_hints

from workers.config import TrainJob
from workers.errors import TakenOverError
from workers.records.processes import lives
from workers.records.run_folder import RunFolder
from workers.storage.typed_json import Json, mistyped_key

_RECORD = re.compile(r"([1-9][0-9]{0,8})\.json")


@dataclass(frozen=True)
class Owner:
    """A process that took a run up, and what its heartbeat tells. Times are Unix seconds."""

    term: int
    """How many owners the run has had, with this one."""
    token: str = ""
    """Random. It tells two processes that took the same term, where a storage cannot prevent it."""
    host: str = ""
    pid: int | None = None
    pid_started: float | None = None
    mode: str = ""
    """Where the job runs: `local`, `ray`, `cluster`, `kuberay`."""
    job_id: str = ""
    """The job for which it took the run. The next owner may be another process of that job."""
    is_claim: bool = False
    """Whether it only keeps the run for the process of its job that is about to start."""
    taken_at: float = 0.0
    beats: int = 0
    beat_at: float | None = None
    """When it last said that it lives, by the clock of its machine; None if it has not yet."""
    is_released: bool = False
    """Whether it said that it no longer owns the run."""

    @property
    def lives(self) -> bool | None:
        """Whether its process runs. None if that cannot be seen, on another machine."""
        if self.pid is None or self.host != socket.gethostname():
            return None
        return lives(self.pid, self.pid_started)

    def describe(self) -> str:
        """Return who it is and since when, as a part of a sentence."""
        since = datetime.fromtimestamp(min(max(self.taken_at, 0.0), 2.0**32), timezone.utc)
        where = f"process {self.pid} on {self.host}" if self.pid is not None else "a process"
        return f"{where}, since {since:%Y-%m-%d %H:%M:%S} UTC"

    def to_json(self) -> Json:
        """Return the content of its record."""
        content = asdict(self)
        return {key: content[key] for key in _RECORD_TYPES}


_HEARTBEAT_KEYS = ("beats", "beat_at", "is_released")
_RECORD_TYPES = {
    key: wanted for key, wanted in get_type_hints(Owner).items() if key not in _HEARTBEAT_KEYS
}
_HEARTBEAT_TYPES = {
    key: wanted
    for key, wanted in get_type_hints(Owner).items()
    if key in ("term", "token", *_HEARTBEAT_KEYS)
}


def record_name(term: int) -> str:
    """Return the name of an owner's record in the run folder."""
    return f"{RunFolder.OWNERS}/{term}.json"


def heartbeat_of(owner: Owner) -> Json:
    """Return the content of heartbeat.json."""
    content = asdict(owner)
    return {key: content[key] for key in _HEARTBEAT_TYPES}


def read_owner(run: RunFolder) -> Owner | None:
    """Return the last owner of a run, living or not; None if nobody ever took it up.

    Of a damaged record, only the term is known. Raises StorageError.
    """
    matches = (_RECORD.fullmatch(name) for name in run.storage.list(run.OWNERS))
    term = max((int(match[1]) for match in matches if match), default=0)
    return _with_heartbeat(run, _read_record(run, term) or Owner(term)) if term else None


def _read_record(run: RunFolder, term: int) -> Owner | None:
    content = run.read_json(record_name(term))
    if content is None or mistyped_key(content, _RECORD_TYPES) is not None:
        return None
    known = {key: content[key] for key in _RECORD_TYPES if key in content}
    return Owner(**{**known, "term": term})


def _with_heartbeat(run: RunFolder, owner: Owner) -> Owner:
    content = run.read_json(run.HEARTBEAT) or {}
    is_its_own = (content.get("term"), content.get("token")) == (owner.term, owner.token)
    if not is_its_own or mistyped_key(content, _HEARTBEAT_TYPES) is not None:
        return owner
    return replace(owner, **{key: content[key] for key in _HEARTBEAT_KEYS if key in content})


@dataclass(frozen=True)
class Fence:
    """What a process must check before it publishes something in a run folder.

    The process need not be the owner: workers write for the driver that started them.
    """

    run: RunFolder
    term: int
    """0 if nobody else can own the run."""
    token: str

    @classmethod
    def of(cls, job: TrainJob) -> "Fence":
        """Return the fence of a worker."""
        return cls(RunFolder.at(job.run_uri).with_retries(), job.owner_term, job.owner_token)

    def check(self) -> None:
        """Return if the owner of this term still owns the run.

        Raises TakenOverError if somebody took it over, GoneError if the run folder was deleted,
        StorageError.
        """
        if not self.term:
            return
        record = _read_record(self.run, self.term)
        is_last = not self.run.storage.exists(record_name(self.term + 1))
        if record is None and is_last:
            raise self.run.storage.gone()  # or it is being deleted, and this file went first
        if record is None or record.token != self.token or not is_last:
            raise taken_over(self.run, read_owner(self.run))


def taken_over(run: RunFolder, owner: Owner | None) -> TakenOverError:
    """Return the error of a process whose run has this owner by now."""
    return TakenOverError(
        f"the run was taken over by {owner.describe() if owner else 'another process'}",
        f"follow it there: rnnjob status {run.run_id}",
    )
