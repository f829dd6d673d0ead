"""The usual Ray Train example: rows of Ray Data, a shuffle buffer, DistributedDataParallel.

    python -m benchmarks.bench.peers.ray_train DATA STORAGE --epochs 2

It prints the samples/s of whole epochs with their data, and when the first step ended, in Unix
seconds.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import ray
import ray.data
import ray.train
import torch
import torch.nn.functional as F
from ray.train import Checkpoint, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, prepare_model
from torch import nn

from benchmarks.bench.peers.images import SIZE, normalize
from benchmarks.bench.peers.network import Classifier


def train(config: dict[str, Any]) -> None:
    started = time.time()
    model = prepare_model(Classifier())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    shard = ray.train.get_dataset_shard("train")
    num_rows, first_step = 0, 0.0
    for _ in range(config["epochs"]):
        batches = shard.iter_torch_batches(
            batch_size=config["batch_size"],
            local_shuffle_buffer_size=4 * config["batch_size"],
            prefetch_batches=2,
        )
        for batch in batches:
            logits = model(normalize(batch["image"].view(-1, SIZE, SIZE)))
            loss = F.cross_entropy(logits, batch["label"])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            first_step = first_step or time.time()
            num_rows += len(batch["label"])
        report(model, first_step, num_rows / (time.time() - started))


def report(model: nn.Module, first_step: float, rows_per_s: float) -> None:
    """Report an epoch, with a checkpoint from worker 0."""
    context = ray.train.get_context()
    num_workers, is_first = context.get_world_size(), context.get_world_rank() == 0
    metrics = {"first_step": first_step, "samples_per_s": rows_per_s * num_workers}
    with tempfile.TemporaryDirectory() as folder:
        if is_first:
            torch.save(model.state_dict(), Path(folder, "model.pt"))
        checkpoint = Checkpoint.from_directory(folder) if is_first else None
        ray.train.report(metrics, checkpoint=checkpoint)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("storage", type=Path)
    parser.add_argument("--batch-size", type=int, default=512, help="of all workers together")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="CPUs of a worker")
    given = parser.parse_args()
    # Ray Data needs CPUs of its own, or it would wait for ever for those that the workers hold.
    num_cpus = given.workers * given.threads + 2
    ray.init(address="local", num_cpus=num_cpus, include_dashboard=False)
    trainer = TorchTrainer(
        train,
        train_loop_config={
            "batch_size": given.batch_size // given.workers,
            "epochs": given.epochs,
        },
        datasets={"train": ray.data.read_parquet(str(given.data / "train.parquet"))},
        scaling_config=ScalingConfig(
            num_workers=given.workers, resources_per_worker={"CPU": given.threads}
        ),
        run_config=RunConfig(storage_path=str(given.storage)),
    )
    print(json.dumps(trainer.fit().metrics))


if __name__ == "__main__":
    main()
