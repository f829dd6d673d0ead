"""What Ray Jobs and the dashboard show of a job beside its log: how far it is, as metadata.

Ray's API takes metadata only when a job is submitted, so this writes into Ray's record of the job,
as its own job manager does. The manager changes that record before the driver starts and after it
has ended. If a release of Ray keeps its records elsewhere, the job goes on without metadata.
"""

import json
import logging
from collections.abc import Mapping

log = logging.getLogger(__name__)
_PREFIX = "rnnjob."


def show_metadata(job_id: str, values: Mapping[str, str]) -> None:
    """Add values to the metadata of a job that runs, from a process that is connected to Ray.

    Args:
        job_id: the id by which Ray Jobs knows the job.
        values: texts by name, without the prefix that they get.
    """
    try:
        from ray._private.ray_constants import KV_NAMESPACE_JOB
        from ray.dashboard.modules.job.common import JobInfoStorageClient
        from ray.experimental import internal_kv

        if not internal_kv._internal_kv_initialized():
            return  # the driver waits for Ray, or has left it
        key = JobInfoStorageClient.JOB_DATA_KEY.format(job_id=job_id).encode()
        record = internal_kv._internal_kv_get(key, namespace=KV_NAMESPACE_JOB)
        if record and (changed := with_metadata(record, values)):
            internal_kv._internal_kv_put(key, changed, overwrite=True, namespace=KV_NAMESPACE_JOB)
    except Exception as error:  # noqa: BLE001  # whatever Ray raises: the job goes on
        log.warning("Ray Jobs does not show how far the job is: %s", error)


def with_metadata(record: bytes, values: Mapping[str, str]) -> bytes | None:
    """Return Ray's record of a job with more metadata; None if the job does not run (any more).

    Raises ValueError if the record is not what Ray 2 writes.
    """
    content = json.loads(record)
    if not isinstance(content, dict) or "status" not in content:
        raise ValueError("Ray's record of the job has another form")
    if content["status"] != "RUNNING":
        return None
    added = {_PREFIX + name: value for name, value in values.items()}
    return json.dumps(
        {**content, "metadata": {**(content.get("metadata") or {}), **added}}
    ).encode()
