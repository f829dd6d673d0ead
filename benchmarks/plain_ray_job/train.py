"""The baseline: a Ray Train job as people write it by hand, up to its first training step.

startup.py submits it to a cluster by `ray job submit`. It prints when the first step ended, in Unix
seconds.
"""

import sys
import time
from typing import Any

import pyarrow.parquet as pq
import ray.data
import ray.train
import torch
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, prepare_model
from torch import Tensor, nn

_ROWS = 512


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(28, 128, batch_first=True)
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.lstm(x)[0][:, -1])
        return logits


def train(_: dict[str, Any]) -> None:
    model = prepare_model(Classifier())
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    rows = ray.train.get_dataset_shard("train")
    dtypes = {"image": torch.float32, "label": torch.int64}
    batch = next(iter(rows.iter_torch_batches(batch_size=_ROWS, dtypes=dtypes)))
    logits = model(batch["image"].view(-1, 28, 28) / 255)
    nn.functional.cross_entropy(logits, batch["label"]).backward()
    optimizer.step()
    print("first step", time.time(), flush=True)


def main(parquet: str, storage: str) -> None:
    table = pq.read_table(parquet, columns=["image", "label"])
    TorchTrainer(
        train,
        datasets={"train": ray.data.from_arrow(table)},
        scaling_config=ScalingConfig(num_workers=1),
        run_config=RunConfig(storage_path=storage),
    ).fit()


if __name__ == "__main__":
    main(*sys.argv[1:])
