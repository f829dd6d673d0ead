"""The rows of RESULTS.md: what is compared, and what is wanted."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.bench import contenders as c
from benchmarks.bench.contenders import Contender

FLOP_PER_ROW = 12.6e6
"""What the default model needs for a row of MNIST: forward, and backward without the gradient of
the inputs."""


def ratio(ours: float, *others: float) -> float:
    """Return our rate as a multiple of the best of the others."""
    return ours / max(others)


def time_ratio(ours: float, *others: float) -> float:
    """Return our time as a multiple of the shortest of the others."""
    return ours / min(others)


def share_of_product(ours: float, product: float) -> float:
    """Return which share of the rate of a matrix product a training reaches, in percent."""
    return 100 * ours * FLOP_PER_ROW / product


def itself(ours: float) -> float:
    return ours


@dataclass(frozen=True)
class Row:
    """A comparison. The first of the contenders is rnnjob."""

    what: str
    contenders: tuple[Contender, ...]
    wanted: float
    figure: Callable[..., float] = ratio
    """Takes the figures of one round, in the order of the contenders."""
    unit: str = "x"
    at_most: bool = False
    """Whether `wanted` is an upper limit."""

    def reached(self, seen: float) -> bool:
        return seen <= self.wanted if self.at_most else seen >= self.wanted


def rows(target: float) -> dict[str, Row]:
    """Return the rows by their keys. `target` is the test accuracy that is trained for."""
    two = "Ray, 2 workers"
    return {
        "fp32": Row("one process, fp32, against plain PyTorch fp32", (c.LOCAL, c.PLAIN), 1.25),
        "bf16": Row(
            "one process, bf16, against plain PyTorch bf16", (c.LOCAL_BF16, c.PLAIN_BF16), 1.5
        ),
        "bf16-fp32": Row(
            "one process, bf16, against plain PyTorch fp32", (c.LOCAL_BF16, c.PLAIN), 2.1
        ),
        "product-fp32": Row(
            "share of the rate of a matrix product, fp32",
            (c.LOCAL, c.PRODUCT), 55, share_of_product, "%",
        ),
        "product-bf16": Row(
            "share of the rate of a matrix product, bf16",
            (c.LOCAL_BF16, c.PRODUCT_BF16), 42, share_of_product, "%",
        ),
        "ray-fp32": Row(f"{two}, steps only, fp32, against torchrun", (c.RAY, c.DDP), 1.1),
        "ray-bf16": Row(
            f"{two}, steps only, bf16, against torchrun", (c.RAY_BF16, c.DDP_BF16), 1.2
        ),
        "ray-data": Row(
            f"{two}, whole epochs with data, against Ray Train and Ray Data",
            (c.RAY_WITH_DATA, c.RAY_TRAIN), 2.0,
        ),
        "ray-start": Row(
            f"{two}, from the command to the first step, against Ray Train and Ray Data",
            (c.RAY_START, c.RAY_TRAIN_START), 0.7, time_ratio, at_most=True,
        ),
        "ray-beyond": Row(
            f"{two}, wall time of a run of 2 epochs beyond its training",
            (c.RAY_BEYOND,), 12, itself, "s", at_most=True,
        ),
        "exact": Row(
            "exact gradients against fused ones, batch 512, 8 shards", (c.LOCAL, c.FUSED), 1.0
        ),
        "accuracy": Row(
            f"training time to {target:.1%} test accuracy, against the fastest peer",
            c.to_accuracy(target), 0.5, time_ratio, at_most=True,
        ),
    }  # fmt: skip
