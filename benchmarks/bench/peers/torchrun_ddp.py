"""The plain PyTorch loop on several processes, with DistributedDataParallel.

torchrun --standalone --nproc-per-node 2 -m benchmarks.bench.peers.torchrun_ddp DATA --seconds 8

The batch size is that of all processes together.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from benchmarks.bench.peers.images import load, normalize
from benchmarks.bench.peers.network import Classifier

WARM_UP_STEPS = 10


def batches(num_rows: int, batch_size: int) -> Iterator[Tensor]:
    """Yield this process's rows of each step, epoch after epoch. All processes draw alike."""
    rank, world_size = dist.get_rank(), dist.get_world_size()
    generator = torch.Generator().manual_seed(0)
    while True:
        order = torch.randperm(num_rows, generator=generator)
        whole = num_rows - num_rows % batch_size or num_rows
        for index in order[:whole].split(batch_size):
            yield index[rank::world_size]


def samples_per_s(data: Path, batch_size: int, precision: str, seconds: float) -> float:
    images, labels = load(data, "train")
    model = DistributedDataParallel(Classifier(), gradient_as_bucket_view=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    num_steps, started, is_over = 0, 0.0, torch.zeros(())
    for index in batches(len(labels), batch_size):
        if num_steps == WARM_UP_STEPS:
            started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = model(normalize(images[index]))
        loss = F.cross_entropy(logits.float(), labels[index])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        num_steps += 1
        # All processes must take the same number of steps, and looking costs an exchange.
        if num_steps > WARM_UP_STEPS and num_steps % 10 == 0:
            is_over.fill_(time.perf_counter() - started >= seconds)
            dist.broadcast(is_over, src=0)
            if is_over:
                break
    passed_s = time.perf_counter() - started
    return (num_steps - WARM_UP_STEPS) * min(batch_size, len(labels)) / passed_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=8.0)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    dist.init_process_group("gloo")
    rate = samples_per_s(given.data, given.batch_size, given.precision, given.seconds)
    if dist.get_rank() == 0:
        print(json.dumps({"samples_per_s": rate}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
