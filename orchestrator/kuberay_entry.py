"""`python -m orchestrator.kuberay_entry RUN_ID`: what a RayJob runs.

Writes the run folder, which elsewhere is done by who submits, then runs the driver. KubeRay starts
it again on another cluster when it lost the first: the run is then taken up where it stood, and one
that has ended is left alone.
"""

import os
import sys
from collections.abc import Callable

from orchestrator import runs, supervisor
from orchestrator.job_spec import JobSpec, load_spec
from orchestrator.kuberay import JOB_YAML
from orchestrator.plan import read_spec
from orchestrator.spec_tree import SpecError
from workers.errors import InputError, JobError, RunExistsError
from workers.run_folder import RunFolder
from workers.storage import Storage

MODE = "kuberay"


def main(run_id: str, drive: Callable[[str], int] = supervisor.main) -> int:
    """Exit code of the job, also where an earlier start of it came to its end."""
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
    """The run's folder, written where there is none yet.

    Raises:
        InputError: no spec was given.
        RunExistsError: the id is that of another job.
        StorageError: the storage cannot be read or written.
    """
    if not job_yaml:
        raise InputError(
            f"{JOB_YAML} holds no spec", "start the job by a manifest of rnnjob export --kuberay"
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
    """But for the precision, which the driver settles and writes back."""
    try:
        before = read_spec(run)
    except SpecError:
        return False
    precision = {"training.precision": before.training.precision}
    return before == spec.with_values(precision)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
