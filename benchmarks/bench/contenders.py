"""The commands that are measured: rnnjob's, and its peers'."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from benchmarks.bench import figures
from benchmarks.bench.commands import Finished

TARGET = 0.985
BATCHES = (64, 128, 256, 512, 1024)


def nothing_missing() -> str | None:
    return None


def bf16_missing() -> str | None:
    from workers.models.cpu_kernels import onednn_has_bf16_layers

    if onednn_has_bf16_layers():
        return None
    return "PyTorch has recurrent layers in bf16 only on CPUs with AVX-512"


def keras_missing() -> str | None:
    if importlib.util.find_spec("keras"):
        return None
    return "it is not installed: pip install 'rnnjob[keras]'"


@dataclass(frozen=True)
class Contender:
    """A command, and how its figure is read."""

    name: str
    command: str
    """As a person types it. What is in braces is filled in by `commands.Runner`."""
    figure: Callable[[Finished], float] = figures.printed_rate
    unit: str = "samples/s"
    trying: str = "batch"
    """What {n} is."""
    tries: tuple[int, ...] = (512,)
    """Values for {n}: the best of them counts."""
    usual: int = 512
    """The only value that is tried where nothing is measured in earnest."""
    missing: Callable[[], str | None] = nothing_missing
    """Returns why it cannot run here."""
    optional: bool = False
    """Whether its row is measured without it."""

    @property
    def is_peer(self) -> bool:
        return not self.command.startswith("rnnjob ")

    @property
    def higher_is_better(self) -> bool:
        return self.unit.endswith("/s")


_PEERS = "benchmarks.bench.peers"
_SUBMIT = "rnnjob submit --json -q --dataset {dataset} --storage FOLDER --run-id run"
_RAY = f"{_SUBMIT} --workers 2 --cpus-per-worker {{half}} --batch-size {{n}} --epochs {{epochs}}"
_LOCAL = f"{_SUBMIT} --local --batch-size {{n}} --epochs {{epochs}}"
_PLAIN = f"python -m {_PEERS}.plain_pytorch DATA --threads {{cpus}} --batch-size {{n}}"
_FP32, _BF16 = " --precision fp32", " --precision bf16"


def _in_bf16(contender: Contender) -> Contender:
    """Return a contender that computes in bf16 instead of fp32."""
    return replace(
        contender,
        name=contender.name.replace("fp32", "bf16"),
        command=contender.command.replace(_FP32, _BF16),
        missing=bf16_missing,
    )


LOCAL = Contender("rnnjob fp32", _LOCAL + _FP32, figures.rate_of_steps)
LOCAL_BF16 = _in_bf16(LOCAL)
FUSED = Contender(
    "rnnjob fp32, fused", f"{LOCAL.command} --set training.gradients=fused", figures.rate_of_steps
)
PLAIN = Contender("plain PyTorch fp32", f"{_PLAIN} --seconds {{seconds}}{_FP32}", tries=BATCHES)
PLAIN_BF16 = _in_bf16(PLAIN)
PRODUCT = Contender(
    "matrix product fp32",
    f"python -m {_PEERS}.matrix_product --threads {{cpus}} --seconds {{seconds}}{_FP32}",
    figures.printed_flops,
    "FLOP/s",
)
PRODUCT_BF16 = _in_bf16(PRODUCT)

RAY = Contender("rnnjob on Ray fp32", _RAY + _FP32, figures.rate_of_steps)
RAY_BF16 = _in_bf16(RAY)
DDP = Contender(
    "torchrun with DDP fp32",
    f"torchrun --standalone --nproc-per-node 2 -m {_PEERS}.torchrun_ddp DATA --threads {{half}}"
    f" --batch-size {{n}} --seconds {{seconds}}{_FP32}",
    tries=BATCHES,
)
DDP_BF16 = _in_bf16(DDP)
RAY_WITH_DATA = replace(RAY, figure=figures.rate_with_data)
RAY_START = replace(RAY, figure=figures.first_step_s, unit="s")
RAY_BEYOND = replace(RAY, figure=figures.beyond_training_s, unit="s")
RAY_TRAIN = Contender(
    "Ray Train and Ray Data fp32",
    f"python -m {_PEERS}.ray_train DATA FOLDER --workers 2 --threads {{half}}"
    " --batch-size {n} --epochs {epochs}",
    tries=(512, 1024, 2048),
)
RAY_TRAIN_START = replace(
    RAY_TRAIN, figure=figures.printed_first_step_s, unit="s", tries=RAY.tries
)  # fmt: skip


def to_accuracy(target: float) -> tuple[Contender, ...]:
    """Return those that train until a test accuracy is reached."""
    until, peer = "--accuracy {target} --max-epochs 30", figures.printed_training_s_to
    command = f"{_SUBMIT} --local --epochs {{n}}"
    figure = partial(figures.training_s_to, target)
    ours = Contender("rnnjob", command, figure, "s", "epochs", (1, 2, 3, 4, 6, 8), 8)
    plain = Contender(
        "plain PyTorch",
        f"{_PLAIN} {until}",
        partial(peer, target),
        "s",
        tries=(64, 128, 256),
        usual=128,
    )
    keras = replace(
        plain,
        name="Keras",
        command=f"python -m {_PEERS}.keras_fit DATA --batch-size {{n}} {until}",
        missing=keras_missing,
        optional=True,
    )
    return ours, plain, keras
