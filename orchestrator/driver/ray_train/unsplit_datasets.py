"""Datasets that each worker reads whole, handed to the workers by Ray Train's controller.

Ray Train starts a process for them, which splits datasets among the workers. Those of rnnjob are
not split: each is a shard, and a worker asks for those that it hosts. So they go to the workers as
references to their blocks. Datasets would cost each worker more the more shards there are, and to
read one, Ray Data would start an executor, and two processes for it.
"""

from dataclasses import dataclass
from typing import Any

from ray.train.v2._internal.callbacks.datasets import DatasetsCallback


@dataclass(frozen=True)
class UnsplitDatasets:
    """Answers `ray.train.get_dataset_shard` in a worker, with references to Arrow tables."""

    blocks: dict[str, list[Any]]

    def get_dataset_shard(self, dataset_info: Any) -> list[Any]:
        return self.blocks[dataset_info.dataset_name]


class UnsplitDatasetsCallback(DatasetsCallback):  # type: ignore[misc]  # Ray is not typed
    """Gives every worker all datasets of the trainer. It runs in the controller."""

    def before_init_train_context(self, workers: list[Any]) -> dict[str, list[Any]]:
        """Override: no process that splits."""
        blocks = {name: dataset.to_arrow_refs() for name, dataset in self._datasets.items()}
        return {"dataset_shard_provider": [UnsplitDatasets(blocks)] * len(workers)}
