"""What can go wrong with a job, as one tree.

::

    JobError                    exit 1   the job started and failed
    ├── InputError              exit 2   refused before anything was started or written
    │   ├── DataError                    a data set is missing, damaged or of the wrong form
    │   └── RunExistsError               the run id is taken
    ├── StorageError            exit 1   the run folder cannot be read or written
    ├── CheckpointError         exit 1   a checkpoint is of another job
    │   └── DamagedCheckpointError       a file of it is missing or changed
    ├── SharedError             exit 1   all workers meet it at the same step; no use in a retry
    │   ├── DivergedError                loss or gradient is no longer a number
    │   ├── RowAccountError              rows counted differ from rows held
    │   └── ReplicaError                 the workers' weights are no longer the same
    ├── WorkerFailedError       exit 1   a worker process failed more often than allowed
    ├── ClusterError            exit 3   cluster unreachable or refused
    │   ├── UnreachableError             nothing answers at its address
    │   └── NoSuchClusterError  exit 4
    ├── NoSuchRunError          exit 4
    ├── JobStoppedError         exit 5   (124 at its time limit, 130 by Ctrl-C)
    ├── ResourcesError          exit 6   the resources asked for are not there
    └── WaitTimeoutError        exit 124 who waited for a run gave up; the run goes on

Every error carries one line of cause and one of cure. The CLI prints both and leaves with
`exit_code`; nothing else in the code ends the process.
"""


class JobError(Exception):
    """A job cannot go on. `cause` says what was wrong, with its value; `cure` what to do next."""

    exit_code = 1

    def __init__(self, cause: str, cure: str = "") -> None:
        super().__init__(cause, cure)
        self.cause = cause
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.cause}\n{self.cure}" if self.cure else self.cause


class InputError(JobError):
    """The request cannot be run as asked; nothing was started."""

    exit_code = 2


class DataError(InputError):
    """A data set is missing, damaged or not of the form that training needs."""


class RunExistsError(InputError):
    """A run of that id is already in the storage."""


class StorageError(JobError):
    """The run folder cannot be read or written."""


class CheckpointError(JobError):
    """A checkpoint cannot be gone on from."""


class DamagedCheckpointError(CheckpointError):
    """A file of a checkpoint is missing, or not the one that was written."""


class SharedError(JobError):
    """All workers meet it at the same step, and would again after a restart."""


class DivergedError(SharedError):
    """The loss or the gradient is no longer a finite number."""


class RowAccountError(SharedError):
    """The rows counted by the workers are not the rows of the split."""


class ReplicaError(SharedError):
    """The workers' copies of the weights differ: their hardware or libraries do too."""


class WorkerFailedError(JobError):
    """A worker process failed more often than `limits.max_failures` allows."""


class ClusterError(JobError):
    """A cluster cannot be reached, refuses, or does not start."""

    exit_code = 3


class UnreachableError(ClusterError):
    """Nothing answers: the cluster may be gone, or only out of reach from here."""


class NoSuchClusterError(ClusterError):
    """No cluster on this machine has the name given."""

    exit_code = 4


class NoSuchRunError(JobError):
    """No run, or more than one, answers to the name given."""

    exit_code = 4


class JobStoppedError(JobError):
    """The job was asked to stop and did, with a checkpoint."""

    exit_code = 5

    def __init__(self, cause: str, cure: str = "", exit_code: int = 5) -> None:
        super().__init__(cause, cure)
        self.exit_code = exit_code


class ResourcesError(JobError):
    """The resources asked for are not there, or not in time."""

    exit_code = 6


class WaitTimeoutError(JobError):
    """The run has not ended in the time that someone would wait for it. It goes on."""

    exit_code = 124
