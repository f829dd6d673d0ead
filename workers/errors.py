"""What can go wrong with a job, as one tree.

::

    JobError                    exit 1   the job started and failed
    ├── InputError              exit 2   refused before anything was started or written
    │   ├── DataError                    a data set is missing, damaged or of the wrong form
    │   ├── ModelError                   a model of the user's own cannot be trained
    │   ├── RunExistsError               the run id is taken
    │   └── RunHeldError                 another process owns the run
    ├── StorageError            exit 1   the run folder cannot be read or written
    │   ├── RefusedFileError             a file in it is too large, no file, or somewhere else
    │   └── GoneError           exit 4   it was deleted while the job ran
    ├── CheckpointError         exit 1   a checkpoint belongs to another job
    │   └── DamagedCheckpointError       one of its files is missing or was changed
    ├── ModelFailedError        exit 1   the code of such a model raised an error in a step
    ├── SharedError             exit 1   all workers raise it at the same step; a retry is useless
    │   ├── DivergedError                the loss or the gradient is no longer finite
    │   ├── RowAccountError              the rows counted are not the rows of the split
    │   └── ReplicaError                 the workers' hardware or packages differ
    ├── WorkerFailedError       exit 1   a worker failed more often than allowed, or would again
    ├── ClusterError            exit 3   a cluster cannot be reached or refuses a request
    │   ├── UnreachableError             nothing answers at its address
    │   └── NoSuchClusterError  exit 4   no local cluster has the name
    ├── TrackerError            exit 3   a tracker does not answer, or refuses a request
    ├── NoSuchRunError          exit 4   no run matches the name, or several do
    ├── JobStoppedError         exit 5   (124 at its time limit, 130 by Ctrl-C)
    ├── TakenOverError          exit 5   another process owns the run by now
    ├── ResourcesError          exit 6   the resources asked for are not available
    └── WaitTimeoutError        exit 124 the wait for a run ended; the run goes on

Every error carries one line of cause and one of cure. The CLI prints both and exits with
`exit_code`; nothing else in the code ends the process.
"""


class JobError(Exception):
    """A job cannot go on. `cause` says what was wrong, with its value; `cure` what to do next."""

    exit_code = 1
    repeats = True
    """Whether the job would meet the error again if its workers were started again."""

    def __init__(self, cause: str, cure: str = "") -> None:
        super().__init__(cause, cure)
        self.cause = cause
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.cause}\n{self.cure}" if self.cure else self.cause


class InputError(JobError):
    """The request cannot be carried out. Nothing was started."""

    exit_code = 2


class DataError(InputError):
    """A data set is missing, is damaged or does not have the form that training needs."""


class ModelError(InputError):
    """A model of the user's own cannot be imported or built, or does not keep to what it must."""


class RunExistsError(InputError):
    """The storage already holds a run with that id."""


class RunHeldError(InputError):
    """Another process owns the run, and lives."""


class StorageError(JobError):
    """The run folder cannot be read or written."""

    repeats = False


class RefusedFileError(StorageError):
    """What lies in a storage is not what was written there, and is not read or written.

    It is too large, no regular file, or a symbolic link that leads out of its folder.
    """

    repeats = True


class GoneError(StorageError):
    """The run folder was deleted. Nothing of it is written again."""

    exit_code = 4
    repeats = True


class CheckpointError(JobError):
    """A job cannot go on from a checkpoint."""


class DamagedCheckpointError(CheckpointError):
    """A file of a checkpoint is missing, or is not the file that was written."""

    repeats = False  # the next attempt goes on from the one before it


class ModelFailedError(JobError):
    """The code of a model of the user's own raised an error while it was trained."""


class SharedError(JobError):
    """All workers raise this error at the same step, and would do so again after a restart."""


class DivergedError(SharedError):
    """The loss or the gradient is no longer a finite number."""


class RowAccountError(SharedError):
    """The rows counted by the workers are not the rows of the split."""


class ReplicaError(SharedError):
    """The workers compute different numbers, or hold different weights, because their hardware or
    libraries differ."""


class WorkerFailedError(JobError):
    """A worker process failed more often than `limits.max_failures` allows, or in a way that would
    come again."""


class ClusterError(JobError):
    """A cluster cannot be reached, refuses a request, or does not start."""

    exit_code = 3


class UnreachableError(ClusterError):
    """Nothing answers: the cluster is gone, or cannot be reached from this machine."""


class NoSuchClusterError(ClusterError):
    """No cluster on this machine has the given name."""

    exit_code = 4


class TrackerError(JobError):
    """A tracker does not answer, or refuses a request. It never ends a job."""

    exit_code = 3


class NoSuchRunError(JobError):
    """No run, or more than one, matches the given name."""

    exit_code = 4


class JobStoppedError(JobError):
    """The job was asked to stop. It wrote a checkpoint and stopped."""

    exit_code = 5

    def __init__(self, cause: str, cure: str = "", exit_code: int = 5) -> None:
        super().__init__(cause, cure)
        self.exit_code = exit_code


class TakenOverError(JobError):
    """The run belongs to another process by now. This one must write nothing more."""

    exit_code = 5


class ResourcesError(JobError):
    """The resources that a job asks for do not exist, or did not become free in time."""

    exit_code = 6


class WaitTimeoutError(JobError):
    """The run did not end within the time of the wait. The run goes on."""

    exit_code = 124
