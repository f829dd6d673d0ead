"""What a cluster says of jobs and of nodes to come, by HTTP alone: no ray is imported."""

import urllib.error
from dataclasses import asdict, dataclass

from orchestrator.cluster.connection import Connection
from orchestrator.cluster.dashboard import get_json
from workers.errors import ClusterError
from workers.jsons import Json

TIMEOUT_S = 5.0
_TERMINAL = frozenset({"STOPPED", "SUCCEEDED", "FAILED"})
_NOT_FOUND = 404


@dataclass(frozen=True)
class RayJob:
    """A job as Ray Jobs tells it; its states are not ours."""

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
    """What the autoscaler is about: nodes it starts, and those it could not start."""

    starting: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()


def find_job(
    connection: Connection, submission_id: str, timeout_s: float = TIMEOUT_S
) -> RayJob | None:
    """None where the cluster does not know it. Raises ClusterError where it cannot be asked."""
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


def scaling(connection: Connection, timeout_s: float = TIMEOUT_S) -> Scaling:
    """Raises ClusterError."""
    reply = get_json(connection, "/api/cluster_status?format=1", timeout_s)
    return parse_scaling(str((reply.get("data") or {}).get("clusterStatus") or ""))


def parse_scaling(text: str) -> Scaling:
    """From what `ray status` prints: the lines below `Pending:` and `Recent failures:`."""
    sections: dict[str, list[str]] = {}
    below: list[str] = []
    for line in text.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            below = sections.setdefault(line.rstrip(":"), [])
        elif line.startswith("---"):  # the line above it was a heading
            del below[-1:]
            below = []
        elif (entry := line.strip()) and not entry.startswith("("):
            below.append(entry)
    return Scaling(tuple(sections.get("Pending", ())), tuple(sections.get("Recent failures", ())))
