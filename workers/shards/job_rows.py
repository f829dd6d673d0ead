"""Choose where the rows of a job are while it trains: in memory, or in files."""

from collections.abc import Callable

import torch

from workers.config import TrainJob
from workers.data.rows import ShardData
from workers.shards.held_rows import HeldRows
from workers.shards.rows_source import RowsSource, StoredShard
from workers.shards.streamed_rows import StreamedRows


def rows_of_job(
    job: TrainJob,
    shards: range,
    load_shard: Callable[[int], ShardData],
    open_shard: Callable[[int], StoredShard],
    device: torch.device,
) -> RowsSource:
    """Return the rows of the hosted shards. Raises DataError if they are not as they should be."""
    if job.is_streamed:
        return StreamedRows(job, shards, open_shard, device)
    return HeldRows(job, shards, load_shard, device)
