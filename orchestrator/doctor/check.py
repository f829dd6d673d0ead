"""One line of what the doctor found, and what it was asked to look at."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from workers.errors import JobError

OK, WARN, FAIL = "ok", "warn", "fail"
_GIB = 2**30
_LITTLE_MEMORY, _LITTLE_DISK, _NO_DISK = 2 * _GIB, 2 * _GIB, _GIB // 8


@dataclass(frozen=True)
class Check:
    """What was looked at and how it stands. `cure` is empty where the state is ok."""

    name: str
    state: str
    detail: str
    cure: str = ""

    def to_json(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True)
class Surroundings:
    """What to check beside this machine."""

    storage: str
    dataset: str
    data_dir: Path | None = None
    num_shards: int = 8
    address: str | None = None
    """Of a cluster; None: none is asked."""
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    """For each request to it, beside the token."""
    verify: bool = True
    """Whether its certificate must be one that can be checked."""
    probe: bool = True
    """Whether a job looks around on each of its nodes."""


def run_check(name: str, check: Callable[[], Check | list[Check]]) -> list[Check]:
    """What a check found; what it raises is a finding, too."""
    try:
        found = check()
    except JobError as error:
        return [Check(name, FAIL, error.cause, error.cure)]
    except Exception as error:  # noqa: BLE001  # the other checks must go on
        return [Check(name, FAIL, f"{type(error).__name__}: {error}", "mend this first")]
    return found if isinstance(found, list) else [found]


def state_of_memory(free_bytes: int) -> str:
    return WARN if free_bytes < _LITTLE_MEMORY else OK


def state_of_disk(free_bytes: int) -> str:
    return FAIL if free_bytes < _NO_DISK else WARN if free_bytes < _LITTLE_DISK else OK
