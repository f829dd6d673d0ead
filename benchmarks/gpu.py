"""Measure a training step on one GPU beside plain PyTorch with cuDNN: make bench-gpu.

Each variant takes whole steps: rows gathered on the GPU, forward, backward, clipping, AdamW, and
one look at the loss. `exact` and `fused` are rnnjob's, `plain` is a loop as its user would write
it, `graph` the same loop recorded as one CUDA graph. The peak is that of a large matrix product,
measured on the spot in the same arithmetic. In bf16, `exact` and `fused` compute the LSTM with
rnnjob's kernels, and the loops with autocast compute it in float16, as torch does whatever is asked
for. All variants run with the settings above.
"""

import argparse
import gc
import statistics
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from workers.config import TrainJob
from workers.data.rows import Rows
from workers.gpu.self_test import NUM_CLASSES, NUM_SHARDS, SIZE, random_digits_job
from workers.gpu.settings import ENVIRONMENT, enable_determinism, prepare_environment
from workers.gradients import ControlFlags, Gradients
from workers.models.recurrent import build_model
from workers.optimizer import Optimizer, clip_
from workers.shard_threads import ShardThreads
from workers.worker import SingleProcessWorker

GPU = torch.device("cuda")
RESULTS = Path(__file__).with_name("RESULTS-GPU.md")
BATCHES = (512, 4096, 32768)
HIDDEN = (128, 512)
NUM_ROWS = 60_000
VARIANTS = ("exact", "fused", "plain", "graph")
ROUNDS = 5
_WIDTH = 100


class Digits:
    """Random images of MNIST's size, on the GPU. What they show does not change the speed."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (NUM_ROWS, SIZE, SIZE), generator=generator)
        self.images = images.to(torch.uint8).to(GPU)
        self.labels = torch.randint(0, NUM_CLASSES, (NUM_ROWS,), generator=generator).to(GPU)

    def order(self, number: int) -> torch.Tensor:
        return torch.randint(0, NUM_ROWS, (number,), device=GPU)


def rnnjob_step(data: Digits, job: TrainJob) -> Callable[[], None]:
    """Return one step as `workers.train` takes it, without its records."""
    model = build_model(job.model, job.data, 0).to(GPU)
    worker = SingleProcessWorker(NUM_SHARDS, lambda shard: {}, device=GPU)
    gradients = Gradients(model, job, worker, ShardThreads(1))
    optimizer = Optimizer(job.training.optimizer, model.parameters())
    batch, sizes = job.training.global_batch_size, [job.rows_per_shard_step] * NUM_SHARDS

    def step() -> None:
        index = data.order(batch)
        rows = Rows(data.images[index], data.labels[index]).split(sizes)
        outcome = gradients.step(0, 0, dict(enumerate(rows)), ControlFlags())
        clip_(outcome.gradient_N, job.training.gradient_clip)
        gradients.assign(outcome.gradient_N)
        optimizer.step(job.training.optimizer.lr)
        assert outcome.num_rows == batch

    return step


def plain_step(data: Digits, job: TrainJob, with_graph: bool) -> Callable[[], None]:
    """Return one step of the usual loop: torch.nn.LSTM, autocast, fused AdamW."""
    batch, hidden = job.training.global_batch_size, job.model.hidden_size
    lstm = nn.LSTM(SIZE, hidden, batch_first=True).to(GPU)
    head = nn.Linear(hidden, NUM_CLASSES).to(GPU)
    parameters = [*lstm.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, 1e-3, fused=True, capturable=with_graph)
    index, loss_sum = data.order(batch), torch.zeros((), device=GPU)
    is_bf16 = job.training.precision == "bf16"

    def compute() -> None:
        inputs = (data.images[index].float() / 255 - 0.13) / 0.31
        optimizer.zero_grad(set_to_none=not with_graph)
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=is_bf16):
            logits = head(lstm(inputs)[0][:, -1])
        loss = F.cross_entropy(logits.float(), data.labels[index])
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        loss_sum.copy_(loss.detach())

    run = compute
    if with_graph:
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        with torch.cuda.stream(stream):
            for _ in range(3):
                compute()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            compute()
        run = graph.replay

    def step() -> None:
        index.copy_(data.order(batch))
        run()
        float(loss_sum)

    return step


def usual_settings() -> None:
    """Undo what rnnjob sets, but for TF32: fp32 is compared with fp32."""
    torch.use_deterministic_algorithms(False)
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = True


def seconds(step: Callable[[], None], budget_s: float) -> float:
    """Return the seconds of a step, as the mean of as many as fit the budget."""
    step()
    torch.cuda.synchronize()
    steps, started = 0, time.perf_counter()
    while steps < 3 or time.perf_counter() - started < budget_s:
        step()
        steps += 1
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / steps


def measure(data: Digits, batch: int, hidden: int, precision: str, budget_s: float) -> list[float]:
    """Return the median samples/s of each variant, from rounds that take turns."""
    steps: dict[str, Callable[[], None]] = {}
    for name in VARIANTS:
        gradients = name if name in ("exact", "fused") else "exact"
        job = random_digits_job(batch, precision, gradients, hidden)
        if name in ("exact", "fused"):
            enable_determinism()
            steps[name] = rnnjob_step(data, job)
        else:
            usual_settings()
            steps[name] = plain_step(data, job, name == "graph")
    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(ROUNDS):
        for name, step in steps.items():
            enable_determinism() if name in ("exact", "fused") else usual_settings()
            times[name].append(seconds(step, budget_s / ROUNDS))
    return [batch / statistics.median(times[name]) for name in VARIANTS]


def peak_flops(precision: str) -> float:
    """Return the rate of a large matrix product on this card, in FLOP/s."""
    size, dtype = 8192, torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(size, size, device=GPU, dtype=dtype) for _ in range(2))
    return 2.0 * size**3 / seconds(lambda: torch.mm(a, b), 0.3)


def flops_per_row(hidden: int) -> float:
    """Return the FLOP of a row: four gates of an LSTM, forward, and backward to its weights.

    Nothing is computed for the gradient of the inputs.
    """
    of_inputs, of_state = 8.0 * SIZE * hidden, 8.0 * hidden * hidden
    return SIZE * (2 * of_inputs + 3 * of_state)


def lines(budget_s: float) -> Iterator[str]:
    data = Digits()
    enable_determinism()
    peaks = {precision: peak_flops(precision) for precision in ("fp32", "bf16")}
    settings = " ".join(f"{name}={value}" for name, value in ENVIRONMENT.items())
    yield "# Steps on one GPU"
    yield ""
    cuda, cudnn = torch.version.cuda, torch.backends.cudnn.version()
    card = torch.cuda.get_device_name()
    yield f"{card}, torch {torch.__version__}, CUDA {cuda}, cuDNN {cudnn}, with"
    yield f"`{settings}`"
    yield f"and TF32 off everywhere. Command: `python benchmarks/gpu.py --seconds {budget_s:g}`."
    yield ""
    yield from (__doc__ or "").strip().splitlines()[2:]
    yield ""
    reached = " and ".join(f"{rate / 1e12:.0f} TFLOP/s in {name}" for name, rate in peaks.items())
    yield from textwrap.wrap(
        f"Thousands of samples per second, medians of {ROUNDS} rounds that take turns. LSTM, 28 "
        f"steps of 28 numbers, {NUM_SHARDS} shards. Matrix products reach {reached}.",
        _WIDTH,
    )
    yield ""
    heads = ["precision", "hidden", "batch", *VARIANTS, "exact/fused", "exact/plain", "of peak"]
    yield "| " + " | ".join(heads) + " |"
    yield "|" + " ---: |" * 10
    for precision in ("fp32", "bf16"):
        for hidden in HIDDEN:
            for batch in BATCHES:
                rates = measure(data, batch, hidden, precision, budget_s)
                exact, fused, plain, _ = rates
                share = exact * flops_per_row(hidden) / peaks[precision]
                cells = [precision, str(hidden), str(batch), *(f"{r / 1e3:.0f}" for r in rates)]
                cells += [f"{exact / fused:.2f}", f"{exact / plain:.2f}", f"{share:.0%}"]
                yield "| " + " | ".join(cells) + " |"
                gc.collect()  # else the memory of the last case's graphs is freed in the next one
                torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="of each variant of each case")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    prepare_environment()
    if not torch.cuda.is_available():
        raise SystemExit("this benchmark needs an NVIDIA GPU, and torch finds none")
    written = []
    for line in lines(arguments.seconds):
        print(line, flush=True)
        written.append(line)
    arguments.output.write_text("\n".join(written) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
