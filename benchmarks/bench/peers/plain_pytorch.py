"""A plain PyTorch loop: rows in memory, fused AdamW, autocast for bf16.

python -m benchmarks.bench.peers.plain_pytorch DATA --seconds 8         # samples/s
python -m benchmarks.bench.peers.plain_pytorch DATA --accuracy 0.985    # seconds of training
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.bench.peers.images import load, normalize
from benchmarks.bench.peers.network import Classifier

WARM_UP_STEPS = 10


class Training:
    def __init__(self, data: Path, batch_size: int, precision: str) -> None:
        torch.manual_seed(0)
        self.images, self.labels = load(data, "train")
        self.batch_size, self.is_bf16 = batch_size, precision == "bf16"
        self.model = Classifier()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, fused=True)

    def epoch(self) -> Iterator[int]:
        """Train on all rows, and yield the number of rows after each step."""
        for index in torch.randperm(len(self.labels)).split(self.batch_size):
            x = normalize(self.images[index])
            with torch.autocast("cpu", torch.bfloat16, enabled=self.is_bf16):
                logits = self.model(x)
            loss = F.cross_entropy(logits.float(), self.labels[index])
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            yield len(index)

    @torch.inference_mode()
    def accuracy(self, data: Path) -> float:
        images, labels = load(data, "test")
        classes = [self.model(normalize(part)).argmax(dim=1) for part in images.split(1000)]
        return float((torch.cat(classes) == labels).double().mean())


def samples_per_s(training: Training, seconds: float) -> float:
    """Return the speed of the steps after a warm-up."""
    steps = rows = 0
    started = time.perf_counter()
    while True:
        for num_rows in training.epoch():
            steps, rows = steps + 1, rows + num_rows
            if steps == WARM_UP_STEPS:
                rows, started = 0, time.perf_counter()
            passed_s = time.perf_counter() - started
            if steps > WARM_UP_STEPS and passed_s >= seconds:
                return rows / passed_s


def train_until(training: Training, data: Path, wanted: float, max_epochs: int) -> dict[str, float]:
    """Train until the test accuracy is reached. Tests take no training time."""
    train_s, accuracy, num_epochs = 0.0, 0.0, 0
    while accuracy < wanted and num_epochs < max_epochs:
        started = time.perf_counter()
        for _ in training.epoch():
            pass
        train_s += time.perf_counter() - started
        accuracy = training.accuracy(data)
        num_epochs += 1
    return {"train_s": train_s, "test_accuracy": accuracy, "epochs": num_epochs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--accuracy", type=float)
    parser.add_argument("--max-epochs", type=int, default=30)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    training = Training(given.data, given.batch_size, given.precision)
    if given.accuracy is None:
        figures = {"samples_per_s": samples_per_s(training, given.seconds)}
    else:
        figures = train_until(training, given.data, given.accuracy, given.max_epochs)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
