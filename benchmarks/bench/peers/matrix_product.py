"""The rate of a large matrix product, in FLOP/s: the best that torch offers on these CPUs.

python -m benchmarks.bench.peers.matrix_product --precision fp32

For fp32, `torch.mm` asks MKL or OpenBLAS, and torch's fused linear layer asks oneDNN.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

SIZES = (1024, 2048, 3072)


def products(a: Tensor, b: Tensor) -> Iterator[Callable[[], Tensor]]:
    """Yield the ways to compute a product."""
    yield lambda: torch.mm(a, b)
    if torch.backends.mkldnn.is_available():
        linear = torch.ops.mkldnn._linear_pointwise
        yield lambda: linear(a, b, None, "none", [], "")


@torch.inference_mode()
def flops(size: int, dtype: torch.dtype, seconds: float) -> float:
    """Return the best rate of a product of this size, over the ways to compute it."""
    a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
    fastest_s = float("inf")
    for product in products(a, b):
        product()
        number, started = 0, time.perf_counter()
        while (passed_s := time.perf_counter() - started) < seconds or not number:
            product()
            number += 1
        fastest_s = min(fastest_s, passed_s / number)
    return 2.0 * size**3 / fastest_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=8.0)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    dtype = torch.bfloat16 if given.precision == "bf16" else torch.float32
    each_s = given.seconds / (2 * len(SIZES))
    print(json.dumps({"flops": max(flops(size, dtype, each_s) for size in SIZES)}))


if __name__ == "__main__":
    main()
