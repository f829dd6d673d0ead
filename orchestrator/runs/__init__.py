"""What a run left in its storage: its state (and that its process is gone), result, history, logs,
provenance, report, and the comparison of two runs.

Nothing here starts, follows or trains a job, or asks a cluster. What writes the folder while a job
runs is in `workers.records`.
"""

from orchestrator.runs.run_status import (
    CLUSTER,
    FAILED,
    LOCAL,
    PENDING,
    QUEUED,
    RAY,
    RESTARTING,
    RUNNING,
    STATES,
    STOPPED,
    SUCCEEDED,
    TERMINAL,
    RunStatus,
    parent_process,
    read_status,
    this_process,
    write_status,
)
from orchestrator.runs.run_store import (
    DEFAULT_STORAGE,
    LAST,
    MAX_ID_LENGTH,
    check_run_id,
    create_run,
    find_run,
    is_run_id,
    list_runs,
    new_run_id,
    next_command,
)

__all__ = [
    "CLUSTER",
    "DEFAULT_STORAGE",
    "FAILED",
    "LAST",
    "LOCAL",
    "MAX_ID_LENGTH",
    "PENDING",
    "QUEUED",
    "RAY",
    "RESTARTING",
    "RUNNING",
    "STATES",
    "STOPPED",
    "SUCCEEDED",
    "TERMINAL",
    "RunStatus",
    "check_run_id",
    "create_run",
    "find_run",
    "is_run_id",
    "list_runs",
    "new_run_id",
    "next_command",
    "parent_process",
    "read_status",
    "this_process",
    "write_status",
]
