"""Queries for jobs and for the autoscaler's nodes. They use plain HTTP: Ray is not imported."""

import re
import signal
import time
import urllib.error
from dataclasses import asdict, dataclass

from orchestrator.cluster.connection import Connection
from orchestrator.cluster.dashboard import get_json, get_json_objects
from workers.errors import ClusterError
from workers.storage.typed_json import Json

TIMEOUT_S = 5.0
_TERMINAL = frozenset({"STOPPED", "SUCCEEDED", "FAILED"})
_NOT_FOUND = 404
_SIGNALLED = 128
"""An exit code of a shell from here on says which signal ended the command."""
_SUPERVISOR = "JOB_SUPERVISOR_"
_SET_UP = ("RUNTIME_ENV_SETUP_FAILURE", "JOB_ENTRYPOINT_COMMAND_START_ERROR")
_MAX_CHARACTERS = 200
STOPPED_BY_OTHERS = "stopped through Ray Jobs"
"""The end of a job that `ray job stop` or `rnnjob stop --force` ended on purpose."""
_POLL_S = 0.25


@dataclass(frozen=True)
class RayJob:
    """A job as Ray Jobs reports it. Its states are Ray's, not those of a run."""

    status: str
    message: str = ""
    error_type: str = ""
    driver_exit_code: int | None = None

    @property
    def is_terminal(self) -> bool:
        return self.status in _TERMINAL

    @property
    def lost_its_supervisor(self) -> bool:
        """Whether the actor of Ray's is gone that ran the job's entrypoint."""
        return self.error_type.startswith(_SUPERVISOR)

    @property
    def was_refused(self) -> bool:
        """Whether the job failed by itself: it could not be set up, or its entrypoint exited. Else
        what ran it was lost."""
        code = self.driver_exit_code
        if self.status != "FAILED" or self.lost_its_supervisor:
            return False
        return self.error_type in _SET_UP or (code is not None and 0 < code < _SIGNALLED)

    def describe_end(self) -> str:
        """Say in one line how a job ended. Ray's own text may have thousands of characters."""
        if self.status == "STOPPED":
            return STOPPED_BY_OTHERS
        if self.status == "SUCCEEDED":
            return "its job ended on the cluster without a word"
        if self.lost_its_supervisor:
            return f"the cluster lost Ray's supervisor of the job ({self.error_type})"
        if self.error_type in _SET_UP:
            return f"Ray could not set the job up: {self._last_line()}"
        code = self.driver_exit_code
        if code is not None and (code < 0 or code >= _SIGNALLED):
            number = -code if code < 0 else code - _SIGNALLED
            return f"its process on the head was killed by {_signal_name(number)}"
        if code is not None:
            return f"its driver exited with {code}: {self._last_line()}"
        return f"Ray Jobs says {self.status}: {self._last_line()}"

    def _last_line(self) -> str:
        lines = [" ".join(line.split()) for line in self.message.splitlines() if line.strip()]
        last = lines[-1] if lines else "without a message"
        return last if len(last) <= _MAX_CHARACTERS else f"{last[:_MAX_CHARACTERS]}..."

    def to_json(self) -> Json:
        return asdict(self)


@dataclass(frozen=True)
class Scaling:
    """What the autoscaler does now: one line of `ray status` per node type or node."""

    starting: tuple[str, ...] = ()
    """Nodes that the autoscaler starts now."""
    failures: tuple[str, ...] = ()
    """Nodes that the autoscaler could not start."""
    node_types: tuple[str, ...] = ()
    """The types of the nodes that run."""

    @property
    def is_impossible(self) -> bool:
        """Whether no autoscaler starts nodes. False if that is not known.

        Without one, Ray reports each node as of a type of its own, named after the node's id.
        """
        has_own_types = all(re.fullmatch(r"node_[0-9a-f]+", name) for name in self.node_types)
        return bool(self.node_types) and has_own_types and not (self.starting or self.failures)


def find_job(
    connection: Connection, submission_id: str, timeout_s: float = TIMEOUT_S
) -> RayJob | None:
    """Return a job, or None if the cluster does not know it.

    Raises ClusterError if the cluster does not answer.
    """
    try:
        reply = get_json(connection, f"/api/jobs/{submission_id}", timeout_s)
    except ClusterError as error:
        cause = error.__cause__
        if isinstance(cause, urllib.error.HTTPError) and cause.code == _NOT_FOUND:
            return None
        raise
    return _parsed(reply)


def list_jobs(connection: Connection, timeout_s: float = TIMEOUT_S) -> dict[str, RayJob]:
    """Return all jobs that the cluster knows, by their ids, with one request.

    Raises ClusterError if the cluster does not answer.
    """
    rows = get_json_objects(connection, "/api/jobs/", timeout_s)
    return {str(row.get("submission_id") or ""): _parsed(row) for row in rows}


def _parsed(reply: Json) -> RayJob:
    code = reply.get("driver_exit_code")
    return RayJob(
        status=str(reply.get("status") or ""),
        message=str(reply.get("message") or ""),
        error_type=str(reply.get("error_type") or ""),
        driver_exit_code=code if isinstance(code, int) else None,
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def wait_for_end(connection: Connection, job_id: str, timeout_s: float) -> RayJob | None:
    """Wait until a job has ended, and return it.

    After `timeout_s` the job is returned as it is, not terminal. Returns None if the cluster does
    not know the job. Raises ClusterError.
    """
    end = time.monotonic() + timeout_s
    while (job := find_job(connection, job_id)) and not job.is_terminal and time.monotonic() < end:
        time.sleep(_POLL_S)
    return job


def scaling(connection: Connection, timeout_s: float = TIMEOUT_S) -> Scaling:
    """Return what the autoscaler does now. Raises ClusterError."""
    reply = get_json(connection, "/api/cluster_status?format=1", timeout_s)
    return parse_scaling(str((reply.get("data") or {}).get("clusterStatus") or ""))


def parse_scaling(text: str) -> Scaling:
    """Parse the output of `ray status`: the lines below the headings about nodes."""
    sections: dict[str, list[str]] = {}
    section: list[str] = []
    for line in text.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            section = sections.setdefault(line.rstrip(":"), [])
        elif line.startswith("---"):  # the line above was a heading, not an entry
            del section[-1:]
            section = []
        elif (entry := line.strip()) and not entry.startswith("("):
            section.append(entry)
    running = (*sections.get("Active", ()), *sections.get("Idle", ()))
    return Scaling(
        tuple(sections.get("Pending", ())),
        tuple(sections.get("Recent failures", ())),
        tuple(entry.partition(" ")[2] for entry in running),  # `1 node_961d8d02`
    )
