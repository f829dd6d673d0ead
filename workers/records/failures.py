"""Which errors of a worker would come again, and which may pass with other processes.

Only what may pass is tried again: a lost process, node or connection, a storage that fails for a
while. Training computes the same in each attempt, so an error of the code or the data comes again.
"""

import re

from workers.errors import JobError, WorkerFailedError
from workers.storage.retries import REPEATING_ERRNOS

_REPEATING = (
    ImportError,
    SyntaxError,
    TypeError,
    ValueError,
    AttributeError,
    NameError,
    LookupError,
    ArithmeticError,
    AssertionError,
    NotImplementedError,
)
_CONNECTION = re.compile(
    r"connection|broken pipe|\bgloo\b|\bnccl\b|timed out|timeout|socket|peer", re.IGNORECASE
)
"""What torch.distributed, whose errors are RuntimeErrors, says when another worker is gone."""
_AT_STEP = "at_step"


def mark_step(error: Exception, step: int) -> None:
    """Note in an error after how many steps it was raised. The note is sent along with it."""
    vars(error)[_AT_STEP] = step


def step_of(error: BaseException) -> int | None:
    """Return after how many steps an error was raised; None if that is not known."""
    step = vars(error).get(_AT_STEP)
    return step if isinstance(step, int) else None


def is_of_a_connection(error: BaseException) -> bool:
    """Whether an error only says that another worker cannot be reached."""
    return isinstance(error, ConnectionError | TimeoutError) or (
        isinstance(error, RuntimeError) and _CONNECTION.search(str(error)) is not None
    )


def repeating(error: Exception, rank: int) -> JobError | None:
    """Return the error with which the job has to end; None if another attempt may succeed."""
    if isinstance(error, JobError):
        return error if error.repeats else None
    is_of_system = isinstance(error, OSError) and error.errno in REPEATING_ERRNOS
    if is_of_system or isinstance(error, _REPEATING):
        return again(f"worker {rank} failed: {one_line(error)}")
    return None


def one_line(error: BaseException) -> str:
    """Return the type and the text of an error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"


def again(reason: str) -> WorkerFailedError:
    """Return the error of a job that ends, since the same would happen again."""
    error = WorkerFailedError(
        reason, "it would happen again: see the log of that worker, and resume the run afterwards"
    )
    error.repeats = True
    return error
