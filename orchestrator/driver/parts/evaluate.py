"""Parts of an evaluation: the rows of a shard become the sums of that shard.

K sums of a shard.
"""

import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.driver.parts.request import EvaluateRequest, part_name, shard_name
from workers.storage.storage import Storage

if TYPE_CHECKING:
    from workers.trained.load import TrainedModel

MAX_SHARD_BYTES = 2**34


class EvaluateParts:
    """Computes the sums of shards with the code of training, and so with its bits."""

    def __init__(self, request: EvaluateRequest, folder: Storage, model: "TrainedModel") -> None:
        self._request, self._folder, self._module = request, folder, model.module
        self._job = request.job.model_copy(update={"data": request.shape})

    def compute(self, part: int) -> None:
        """Write the sums of a shard. Raises JobError."""
        import torch

        from workers.data.tables import rows_from_table
        from workers.evaluate import shard_sums
        from workers.pieces import rules_of
        from workers.shards.rows_source import in_parts

        content = self._folder.read(shard_name(part), MAX_SHARD_BYTES)
        rows = rows_from_table(pq.read_table(pa.BufferReader(content)), self._request.shape)
        rules, device = rules_of(self._job), torch.device("cpu")
        parts = in_parts(rows, self._job.window)
        sums_K = shard_sums(self._module, self._job, rules, parts, 0, device)
        # JSON keeps each bit of a float64.
        text = json.dumps({"sums": sums_K.tolist()})
        self._folder.write(part_name(self._request, part), text.encode())
