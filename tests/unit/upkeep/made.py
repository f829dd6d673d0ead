"""Run folders as ended runs leave them, with files of some bytes instead of weights."""

import hashlib
import json
import os
import time
from pathlib import Path

from orchestrator import runs
from orchestrator.runs import RunStatus
from orchestrator.spec.job_spec import JobSpec
from workers.checkpoints.stored import FILES, MANIFEST, step_name
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage

LONG_AGO = time.time() - 40 * 86400.0


def ended_run(
    storage: Storage, run_id: str, state: str = runs.SUCCEEDED, ended_at: float = LONG_AGO
) -> RunFolder:
    run = runs.create_run(storage, run_id, JobSpec().to_yaml(), "local")
    runs.write_status(run, RunStatus(run_id, state, "local", submitted_at=1.0, ended_at=ended_at))
    return run


def add_checkpoint(run: RunFolder, step: int) -> Path:
    """Write a checkpoint of a step, and return its folder."""
    folder = run.storage.child(run.CHECKPOINTS).child(step_name(step))
    for name in FILES:
        folder.write(name, f"{name} of step {step}".encode())
    hashes = {name: hashlib.sha256(f"{name} of step {step}".encode()).hexdigest() for name in FILES}
    manifest = {"schema_version": 1, "step": step, "best": False, "sha256": hashes}
    folder.write(MANIFEST, json.dumps(manifest).encode())
    path = folder.local_path
    assert path is not None
    return path


def make_old(top: Path, when: float = LONG_AGO) -> None:
    """Let all files and folders look as if nothing had touched them since."""
    for folder, _, names in os.walk(top, topdown=False):
        for name in names:
            os.utime(Path(folder, name), (when, when), follow_symlinks=False)
        os.utime(folder, (when, when))
