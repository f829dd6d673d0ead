"""A short job that looks around on each node of a cluster, and what its answers come to.

It leaves nothing behind, neither on the cluster nor in the storage.
"""

import contextlib
import shlex
import uuid
from collections.abc import Iterator

from orchestrator.cluster.connection import Connection
from orchestrator.cluster.dashboard import Node
from orchestrator.doctor.check import FAIL, WARN, Check, Surroundings
from orchestrator.doctor.data import Shard, a_shard
from orchestrator.doctor.nodes import judge
from orchestrator.launchers.request import packages
from orchestrator.launchers.short_job import Ended, run_short_job
from orchestrator.node_probe import read_reports
from orchestrator.node_report import Errand
from orchestrator.storage_trial import left_as_found
from workers.errors import ClusterError, JobError, StorageError
from workers.storage import Storage

_TIMEOUT_S = 60.0
_SHARD = "shard.parquet"
_ENV_VARS = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a task that takes no GPU is to see them all
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}
_CURE = "see the dashboard and its logs; --no-probe leaves the nodes out"


def check_nodes(there: Connection, where: Surroundings, nodes: list[Node]) -> list[Check]:
    """What the nodes, which are all that are alive, and a driver find."""
    job_id = f"rnnjob-doctor-{uuid.uuid4().hex[:8]}"
    storage = Storage(where.storage)
    with _left_there(storage, f".{job_id}", a_shard(where)) as shard:
        errand = Errand(storage.uri, f".{job_id}", _SHARD if shard else "")
        try:
            ended = run_short_job(there, job_id, _entrypoint(errand), _runtime_env(), _TIMEOUT_S)
        except ClusterError as error:
            return [Check("nodes", FAIL, error.cause, _CURE)]
    return what_it_found(job_id, ended, nodes, shard)


def what_it_found(job_id: str, ended: Ended, nodes: list[Node], shard: Shard | None) -> list[Check]:
    """What the job printed, judged; and what became of the job, where that is not as it should."""
    reports = read_reports(ended.log)
    checks = judge(reports, nodes, shard, f"within {ended.took_s:.0f} s") if reports else []
    if not reports or (ended.job and ended.job.status == "FAILED"):
        checks.insert(0, Check("nodes", FAIL, _why_it_ended(ended), _CURE))
    if not ended.is_removed:
        left = f"the job {job_id}, which looks around, is still on the cluster"
        checks.append(Check("nodes", WARN, left, f"ray job stop {job_id}; ray job delete {job_id}"))
    return checks


@contextlib.contextmanager
def _left_there(storage: Storage, folder: str, shard: Shard) -> Iterator[Shard | None]:
    """Within it, the shard is in a folder of the storage, for the nodes to read; None where it
    cannot be written, which is told elsewhere."""
    with left_as_found(storage):
        try:
            yield shard if _is_written(shard, storage.child(folder)) else None
        finally:
            with contextlib.suppress(JobError):
                storage.delete(folder)


def _is_written(shard: Shard, folder: Storage) -> bool:
    try:
        folder.write(_SHARD, shard.content)
    except StorageError:
        return False
    return True


def _entrypoint(errand: Errand) -> str:
    words = [errand.storage, errand.folder, errand.shard]
    return shlex.join(["python", "-m", "orchestrator.node_probe", *words])


def _runtime_env() -> dict[str, object]:
    return {"py_modules": [str(folder) for folder in packages()], "env_vars": _ENV_VARS}


def _why_it_ended(ended: Ended) -> str:
    """In its last line, for instance of a traceback."""
    if ended.job is None:
        return "the cluster lost the job that looks around"
    lines = [line.strip() for line in ended.job.message.splitlines() if line.strip()]
    status = f"the job that looks around is {ended.job.status} after {ended.took_s:.0f} s"
    return f"{status}: {lines[-1]}" if lines else status
