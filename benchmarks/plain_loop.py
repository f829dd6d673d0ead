"""The baseline: the same model in a plain PyTorch training loop, as people write it by hand.

It prints samples/s after a warm-up. single_process.py runs it in a process of its own::

    python -m benchmarks.plain_loop BATCH_SIZE fp32|bf16 NUM_THREADS SECONDS
"""

import sys
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.data import training_rows

_WARM_UP_STEPS = 10


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(28, 128, batch_first=True)
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.lstm(x)[0][:, -1])
        return logits


def main(batch_size: int, precision: str, num_threads: int, seconds: float) -> None:
    torch.set_num_threads(num_threads)
    images, labels = training_rows()
    model = Classifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
    steps = rows = 0
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        for index in torch.randperm(len(labels)).split(batch_size):
            if steps == _WARM_UP_STEPS:
                rows, started = 0, time.perf_counter()
            x = (images[index].float() / 255 - 0.13) / 0.31
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                loss = F.cross_entropy(model(x).float(), labels[index])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            steps += 1
            rows += len(index)
            if steps > _WARM_UP_STEPS and time.perf_counter() - started >= seconds:
                break
    print(rows / (time.perf_counter() - started))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
