"""The categories of `rnnjob why`, and the patterns that assign a failure to one of them."""

import re
from collections.abc import Sequence

RUNNING, SUCCEEDED, STOPPED = "running", "succeeded", "stopped"
INFEASIBLE, WAITING, AUTOSCALING = "infeasible", "waiting", "autoscaling"
AUTHENTICATION, VERSION, UNREACHABLE = "authentication", "version", "unreachable"
CODE_SHIPPING, STORAGE, DATA, MODEL = "code-shipping", "storage", "data", "model"
OUT_OF_MEMORY, WORKER_LOST, DRIVER_DIED = "out-of-memory", "worker-lost", "driver-died"
HEAD_LOST, STANDSTILL = "head-lost", "standstill"
DIVERGED, TIME_LIMIT, UNKNOWN = "diverged", "time-limit", "unknown"

_BY_ERROR = {
    "DataError": DATA,
    "DivergedError": DIVERGED,
    "ModelError": MODEL,
    "ModelFailedError": MODEL,
    "StorageError": STORAGE,
    "RowAccountError": DATA,
}

# When a worker has ended, Ray lists the out-of-memory killer among the possible causes. Such a line
# says that a worker was lost. It does not say that memory ran out.
_GUESS = re.compile(r"potential root causes|OOM killer due to high memory usage")

_CAUSES = [
    (
        OUT_OF_MEMORY,
        "memory ran out",
        r"OutOfMemoryError|out of memory|running low on memory|\bMemoryError\b|OOM[- ]?killed"
        r"|Cannot allocate memory",
    ),
    (
        VERSION,
        "the versions of client and cluster, or of its nodes, differ",
        r"[Vv]ersion mismatch|runs (Ray|Python) \S+, this client",
    ),
    (
        AUTHENTICATION,
        "a token was refused",
        r"AuthenticationError|InvalidAuthToken|refuses the token|asks for a token",
    ),
    (
        CODE_SHIPPING,
        "what the job brings along could not be set up",
        r"RuntimeEnvSetupError|runtime_env setup failed|ModuleNotFoundError|ImportError:"
        r"|No module named",
    ),
    (
        STORAGE,
        "the storage is not there, not shared or not writable where the job runs",
        r"holds no run|cannot (write|create|read|open|list) \S+:|No space left on device"
        r"|Read-only file system",
    ),
    (DATA, "the data set is missing or damaged", r"DataError"),
    (DIVERGED, "the loss is no longer a number", r"DivergedError"),
]
# These patterns are tried last, because one of the causes above is often why a worker was lost.
_LOST = [
    (
        WORKER_LOST,
        "a worker was lost",
        r"ActorDiedError|ActorUnavailable|RayActorError|NodeDiedError|[Ww]orker \S+ died"
        r"|node .{0,80}(died|dead|was terminated)|Worker exit type|worker process .{0,40}died"
        r"|died unexpectedly|actor died",
    ),
]

CURES = {
    OUT_OF_MEMORY: "take less at once: --batch-size, or more nodes; then {resume}",
    VERSION: "install the same Ray and Python on both sides, see rnnjob doctor",
    AUTHENTICATION: "export RAY_AUTH_TOKEN_PATH=FILE with the cluster's token, then {resume}",
    CODE_SHIPPING: "check --working-dir and what is installed on the cluster; {logs}",
    WORKER_LOST: "{resume} goes on from the last checkpoint",
}
"""What to do next, by category. `{resume}` and `{logs}` stand for commands about the run."""


def category_of_error(name: str) -> str | None:
    """Return the category of one of rnnjob's error classes; None if the name does not decide it."""
    return _BY_ERROR.get(name)


def category_of_lines(sources: Sequence[Sequence[str]]) -> tuple[str, str, list[str]] | None:
    """Return the category, its cause in words, and the lines that match; None if no line matches.

    `sources`: the lines of each source of text, the most reliable source first.
    """
    for patterns in (_CAUSES, _LOST):
        for lines in sources:
            for category, cause, pattern in patterns:
                if found := [line for line in lines if _matches(line, category, pattern)]:
                    return category, cause, found
    return None


def _matches(line: str, category: str, pattern: str) -> bool:
    is_guess = category == OUT_OF_MEMORY and _GUESS.search(line) is not None
    return re.search(pattern, line) is not None and not is_guess
