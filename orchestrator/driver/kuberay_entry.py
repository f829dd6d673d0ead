"""The entrypoint of a RayJob on Kubernetes: `python -m orchestrator.driver.kuberay_entry RUN_ID`.

It writes the run folder and then runs the supervisor. Without Kubernetes, the client writes the
folder. If KubeRay loses the cluster, it starts this entrypoint again on another one, and the run
goes on from its last checkpoint. A run that has ended is left alone. If the image does not contain
rnnjob, `orchestrator.cluster.kuberay.code_bootstrap` comes first.
"""

import os
import sys
from collections.abc import Callable

from orchestrator import runs
from orchestrator.cluster.kuberay.manifest import JOB_YAML
from orchestrator.driver import supervisor
from orchestrator.spec.build import load_spec
from orchestrator.spec.job_spec import JobSpec
from orchestrator.spec.plan import read_spec
from orchestrator.spec.tree import SpecError
from workers.errors import InputError, JobError, RunExistsError
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage

MODE = "kuberay"


def main(run_id: str, drive: Callable[[str], int] = supervisor.main) -> int:
    """Run the job and return its exit code. If the run has ended already, return that exit code.

    `drive`: runs the job in a run folder, given by its URI, and returns the exit code.
    """
    try:
        run = open_run(run_id, os.environ.get(JOB_YAML, ""))
        status = runs.read_status(run)
    except JobError as error:
        print(f"Error: {error.cause}\nTry: {error.cure}", file=sys.stderr)
        return error.exit_code
    if status.is_terminal:
        print(f"{run_id} has ended already: {status.state} {status.reason}", file=sys.stderr)
        return 1 if status.exit_code is None else status.exit_code
    return drive(run.storage.uri)


def open_run(run_id: str, job_yaml: str) -> RunFolder:
    """Return the run's folder. Write it if it does not exist yet.

    Raises:
        InputError: `job_yaml` is empty or not a valid spec.
        RunExistsError: another job has this id already.
        StorageError: the storage cannot be read or written.
    """
    if not job_yaml:
        raise InputError(
            f"{JOB_YAML} holds no spec",
            "start the job with a manifest of rnnjob export --kuberay",
        )
    spec = load_spec(job_yaml, JOB_YAML)
    storage = Storage(spec.storage)
    try:
        return runs.create_run(storage, run_id, job_yaml, MODE)
    except RunExistsError:
        run = RunFolder(storage.child(run_id))
        if not _is_same_job(run, spec):
            raise
        return run


def _is_same_job(run: RunFolder, spec: JobSpec) -> bool:
    """Return whether a run has this spec. The precision may differ: the driver resolves it and
    writes it back."""
    try:
        before = read_spec(run)
    except SpecError:
        return False
    precision = {"training.precision": before.training.precision}
    return before == spec.with_values(precision)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
