"""The result of one check of the doctor, and the options of all checks."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from workers.errors import JobError

OK, WARN, FAIL = "ok", "warn", "fail"
_GIB = 2**30
_LITTLE_MEMORY, _LITTLE_DISK, _NO_DISK = 2 * _GIB, 2 * _GIB, _GIB // 8


@dataclass(frozen=True)
class Check:
    """What was checked, and with which result. `cure` is empty if the state is ok."""

    name: str
    state: str
    detail: str
    cure: str = ""

    def to_json(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True)
class DoctorOptions:
    """What the doctor checks in addition to this machine."""

    storage: str
    dataset: str
    data_dir: Path | None = None
    num_shards: int = 8
    address: str | None = None
    """The address of the cluster to check; None if no cluster is to be checked."""
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    """HTTP headers that are sent to the cluster with each request, in addition to the token."""
    verify: bool = True
    """Whether the cluster's TLS certificate is verified."""
    probe: bool = True
    """Whether a short job inspects each node of the cluster."""


def run_check(name: str, check: Callable[[], Check | list[Check]]) -> list[Check]:
    """Return the results of a check. An exception becomes a failed check."""
    try:
        result = check()
    except JobError as error:
        return [Check(name, FAIL, error.cause, error.cure)]
    except Exception as error:  # noqa: BLE001  # the other checks must go on
        return [Check(name, FAIL, f"{type(error).__name__}: {error}", "fix this first")]
    return result if isinstance(result, list) else [result]


def state_of_memory(free_bytes: int) -> str:
    return WARN if free_bytes < _LITTLE_MEMORY else OK


def state_of_disk(free_bytes: int) -> str:
    return FAIL if free_bytes < _NO_DISK else WARN if free_bytes < _LITTLE_DISK else OK
