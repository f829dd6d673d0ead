"""Plan which faults are injected at which steps. The plan depends on the seed only."""

import random
from collections.abc import Collection
from dataclasses import dataclass

from workers.errors import InputError

WORKER, NODE, DRIVER, STORAGE, RESIZE = "worker", "node", "driver", "storage", "resize"
SUSPEND, SUPERVISOR = "suspend", "supervisor"
KINDS = (WORKER, NODE, DRIVER, STORAGE, RESIZE, SUSPEND, SUPERVISOR)
"""The kinds of faults:

- WORKER: a training process is killed.
- NODE: a node's raylet is killed.
- DRIVER: the driver is killed.
- STORAGE: the newest checkpoint is damaged and a training process is killed.
- RESIZE: the run is stopped and resumed with another number of workers.
- SUSPEND: a training process is suspended for longer than its owner's lease, and goes on.
- SUPERVISOR: what starts a dead driver again is killed. The driver then ends, and is resumed.
"""
_DRAWS = 2**32


@dataclass(frozen=True)
class Fault:
    """A planned fault. Its target is chosen when it is injected."""

    kind: str
    step: int
    """The fault is injected once this step is done."""
    draw: int
    """The seed of the choices at injection: which worker, which file, how many workers."""


def parse_kinds(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list. Returns each kind once, in the order of KINDS.

    Raises InputError.
    """
    asked = {word.strip() for word in text.split(",")}
    if unknown := sorted(asked - set(KINDS)):
        raise InputError(f"unknown fault '{unknown[0]}'", f"choose from: {', '.join(KINDS)}")
    return tuple(kind for kind in KINDS if kind in asked)


def plan_faults(
    kinds: Collection[str], num_faults: int, num_steps: int, seed: int
) -> tuple[Fault, ...]:
    """Return faults in ascending order of their steps, spread over the job.

    No fault is in the last tenth of the job, which might end before that fault is injected. Raises
    InputError if the job has too few steps.
    """
    last = num_steps - 1 - num_steps // 10
    if last < num_faults:
        raise InputError(
            f"the job has {num_steps} steps, too few for {num_faults} faults",
            "use more --epochs, a smaller --batch-size, or fewer --num-faults",
        )
    source = random.Random(seed)
    chosen = _kinds(sorted(kinds, key=KINDS.index), num_faults, source)
    return tuple(
        Fault(kind, _step(part, num_faults, last, source), source.randrange(_DRAWS))
        for part, kind in enumerate(chosen)
    )


def _kinds(kinds: list[str], num: int, source: random.Random) -> list[str]:
    """Draw kinds in rounds. Each round has every kind once, in a random order."""
    chosen: list[str] = []
    while len(chosen) < num:
        chosen += source.sample(kinds, len(kinds))
    return chosen[:num]


def _step(part: int, num_parts: int, last: int, source: random.Random) -> int:
    """Draw a step from one of `num_parts` equal parts of the steps 1 to `last`."""
    return 1 + source.randrange(part * last // num_parts, (part + 1) * last // num_parts)
