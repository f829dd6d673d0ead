"""Run a short job that inspects each node of a cluster, and turn its reports into checks.

Nothing remains on the cluster or in the storage.
"""

import contextlib
import shlex
import uuid
from collections.abc import Iterator

from orchestrator.cluster.connection import Connection
from orchestrator.cluster.dashboard import Node
from orchestrator.doctor.check import FAIL, WARN, Check, DoctorOptions
from orchestrator.doctor.data import Shard, load_shard
from orchestrator.doctor.node_job import read_reports
from orchestrator.doctor.node_report import StorageTask
from orchestrator.doctor.nodes import judge_reports
from orchestrator.doctor.storage_trial import removing_new_folders
from orchestrator.launch.request import packages
from orchestrator.launch.short_job import EndedJob, run_short_job
from workers.errors import ClusterError, JobError, StorageError
from workers.storage.storage import Storage

_TIMEOUT_S = 60.0
_SHARD = "shard.parquet"
_ENV_VARS = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a task that takes no GPU must still see all GPUs
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}
_CURE = "see the dashboard and its logs; --no-probe skips the nodes"


def check_nodes(cluster: Connection, options: DoctorOptions, nodes: list[Node]) -> list[Check]:
    """Check the driver's process and each node. `nodes`: all nodes that are alive."""
    job_id = f"rnnjob-doctor-{uuid.uuid4().hex[:8]}"
    storage = Storage(options.storage)
    with _stored_shard(storage, f".{job_id}", load_shard(options)) as shard:
        task = StorageTask(storage.uri, f".{job_id}", _SHARD if shard else "")
        try:
            ended = run_short_job(cluster, job_id, _entrypoint(task), _runtime_env(), _TIMEOUT_S)
        except ClusterError as error:
            return [Check("nodes", FAIL, error.cause, _CURE)]
    return checks_from_job(job_id, ended, nodes, shard)


def checks_from_job(
    job_id: str, ended: EndedJob, nodes: list[Node], shard: Shard | None
) -> list[Check]:
    """Return the checks from the job's reports, and checks of the job itself if it went wrong."""
    reports = read_reports(ended.log)
    checks = judge_reports(reports, nodes, shard, f"within {ended.took_s:.0f} s") if reports else []
    if not reports or (ended.job and ended.job.status == "FAILED"):
        checks.insert(0, Check("nodes", FAIL, _why_it_ended(ended), _CURE))
    if not ended.is_removed:
        detail = f"the inspection job {job_id} is still on the cluster"
        cure = f"ray job stop {job_id}; ray job delete {job_id}"
        checks.append(Check("nodes", WARN, detail, cure))
    return checks


@contextlib.contextmanager
def _stored_shard(storage: Storage, folder: str, shard: Shard) -> Iterator[Shard | None]:
    """Keep the shard in a folder of the storage while the nodes read it.

    Yields None if the shard cannot be written. The check of the storage reports that.
    """
    with removing_new_folders(storage):
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


def _entrypoint(task: StorageTask) -> str:
    words = [task.storage, task.folder, task.shard]
    return shlex.join(["python", "-m", "orchestrator.doctor.node_job", *words])


def _runtime_env() -> dict[str, object]:
    return {"py_modules": [str(folder) for folder in packages()], "env_vars": _ENV_VARS}


def _why_it_ended(ended: EndedJob) -> str:
    """Return the job's status and the last line of its message, for instance of a traceback."""
    if ended.job is None:
        return "the cluster lost the inspection job"
    lines = [line.strip() for line in ended.job.message.splitlines() if line.strip()]
    status = f"the inspection job is {ended.job.status} after {ended.took_s:.0f} s"
    return f"{status}: {lines[-1]}" if lines else status
