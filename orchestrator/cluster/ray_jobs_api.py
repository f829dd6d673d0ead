"""Queries for jobs and for the autoscaler's nodes. They use plain HTTP: Ray is not imported."""

import re
import time
import urllib.error
from dataclasses import asdict, dataclass

from orchestrator.cluster.connection import Connection
from orchestrator.cluster.dashboard import get_json
from workers.errors import ClusterError
from workers.storage.typed_json import Json

TIMEOUT_S = 5.0
_TERMINAL = frozenset({"STOPPED", "SUCCEEDED", "FAILED"})
_NOT_FOUND = 404
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
    code = reply.get("driver_exit_code")
    return RayJob(
        status=str(reply.get("status") or ""),
        message=str(reply.get("message") or ""),
        error_type=str(reply.get("error_type") or ""),
        driver_exit_code=code if isinstance(code, int) else None,
    )


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
