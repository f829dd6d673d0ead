"""Which faults, and at which steps: a function of the seed and nothing else."""

import random
from collections.abc import Collection
from dataclasses import dataclass

from workers.errors import InputError

WORKER, NODE, DRIVER, STORAGE, RESIZE = "worker", "node", "driver", "storage", "resize"
KINDS = (WORKER, NODE, DRIVER, STORAGE, RESIZE)
"""A training process is killed; a node's raylet; the driver; the newest checkpoint is damaged and a
training process killed; the run is stopped and resumed with another number of workers."""
_DRAWS = 2**32


@dataclass(frozen=True)
class Fault:
    """One fault, before it is known what it will hit."""

    kind: str
    step: int
    """It strikes once so many steps are done."""
    draw: int
    """Decides what is chosen on the spot: which worker, which file, how many workers."""


def parse_kinds(text: str) -> tuple[str, ...]:
    """Of a list with commas; each once, in the order of KINDS. Raises InputError."""
    asked = {word.strip() for word in text.split(",")}
    if unknown := sorted(asked - set(KINDS)):
        raise InputError(f"no fault '{unknown[0]}'", f"there are: {', '.join(KINDS)}")
    return tuple(kind for kind in KINDS if kind in asked)


def plan_faults(
    kinds: Collection[str], num_faults: int, num_steps: int, seed: int
) -> tuple[Fault, ...]:
    """Faults by ascending step, spread over the job; none in its last tenth, where it might be over
    before the fault strikes.

    Raises InputError where the job has too few steps.
    """
    last = num_steps - 1 - num_steps // 10
    if last < num_faults:
        raise InputError(
            f"the job has {num_steps} steps, too few for {num_faults} faults",
            "more --epochs, a smaller --batch-size, or fewer --num-faults",
        )
    source = random.Random(seed)
    chosen = _kinds(sorted(kinds, key=KINDS.index), num_faults, source)
    return tuple(
        Fault(kind, _step(part, num_faults, last, source), source.randrange(_DRAWS))
        for part, kind in enumerate(chosen)
    )


def _kinds(kinds: list[str], num: int, source: random.Random) -> list[str]:
    """Each as often as the others, give or take one, and in an order of its own each round."""
    chosen: list[str] = []
    while len(chosen) < num:
        chosen += source.sample(kinds, len(kinds))
    return chosen[:num]


def _step(part: int, num_parts: int, last: int, source: random.Random) -> int:
    """One of the steps 1 to `last` that are of this part, of equal ones."""
    return 1 + source.randrange(part * last // num_parts, (part + 1) * last // num_parts)
