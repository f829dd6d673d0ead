"""Whether a job's rows fit into the memory of its workers, or are streamed from their files."""

from orchestrator.datasets.prepared import PreparedData
from orchestrator.spec.job_spec import JobSpec
from orchestrator.units import parse_bytes, show_bytes
from workers.config import SPLITS
from workers.errors import InputError

_WINDOWS = 2
"""Of each shard: one that steps take rows of, and the next one, which is read meanwhile."""


def is_streamed(spec: JobSpec, data: PreparedData, num_workers: int) -> bool:
    """Return whether the workers stream their rows, since they do not fit the memory budget.

    Raises InputError if not even windows of them fit.
    """
    window, budget = spec.dataset.window, parse_bytes(spec.dataset.memory_budget)
    num_shards = data.shape.num_shards
    hosted = -(-num_shards // num_workers)
    held = sum(data.num_bytes(split) for split in SPLITS) * hosted // num_shards
    if held <= budget:
        return False
    shown = f"dataset.memory_budget {show_bytes(budget)}"
    of_row = max(1, data.num_bytes("train") // max(1, data.shape.train_rows))
    largest = budget // (_WINDOWS * hosted * of_row)
    fitting = 1 << (largest.bit_length() - 1) if largest else 0
    cure = f"take more workers (now {num_workers}), or --set dataset.memory_budget="
    if fitting >= spec.training.global_batch_size // num_shards:
        cure = f"stream them: --set dataset.window={fitting}, or {cure}"
    if window is None:
        raise InputError(
            f"a worker would hold {show_bytes(held)} of rows, above {shown}", cure + _mib(held)
        )
    rows = min(window, -(-data.shape.train_rows // num_shards))
    needed = _WINDOWS * hosted * rows * of_row
    if needed > budget:
        raise InputError(
            f"{_WINDOWS} windows of {window:,} rows for each of {hosted} shards would take "
            f"{show_bytes(needed)}, above {shown}",
            cure + _mib(needed),
        )
    return True


def _mib(num_bytes: int) -> str:
    return f"{-(-num_bytes // 2**20)}MiB"
