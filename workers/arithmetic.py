"""What a worker computes with, and whether all workers compute the same numbers with it.

Equal bits need equal kernels. Two models of CPUs or GPUs in one job, or two releases of torch, give
other bits without an error. So each worker computes one gradient whose value is known from the job
alone, and all compare its hash before the first step. S shards, B rows.
"""

import hashlib
import logging
import platform
import socket
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from workers.config import AugmentConfig, TrainJob
from workers.errors import ReplicaError
from workers.gpu.shard_rows import block_rows
from workers.models.compute_copy import ComputeCopy
from workers.models.noise import Noise
from workers.models.recurrent import build_model
from workers.pieces import MICRO_BATCH_ROWS, piece_row, row_size
from workers.worker import Worker

log = logging.getLogger(__name__)
_NAME_BYTES = 120
_WORD = np.dtype("<u4")


def device_name(device: torch.device) -> str:
    """Return the model of the GPU or CPU, with the instructions that torch uses of the latter."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_cpu_model()} ({torch.backends.cpu.get_cpu_capability()})"


def arithmetic_sha256(job: TrainJob, device: torch.device) -> str:
    """Return the hash of the gradient of one piece: the job's first weights, rows of random pixels.

    It depends on the job, and on what computes it: the device, the libraries, their settings.
    """
    model = build_model(job.model, job.data, job.training.seed, job.training.bptt_steps).to(device)
    computing = ComputeCopy(model, job.training.precision, device)
    rows = block_rows(job) if device.type == "cuda" else MICRO_BATCH_ROWS
    data = job.data
    words = np.random.Philox(rows).random_raw(rows * (data.height * data.width + 1))
    pixels, labels = np.split(words, [rows * data.height * data.width])
    images_BHW = torch.from_numpy((pixels >> np.uint64(56)).astype(np.uint8))
    labels_B = torch.from_numpy((labels % np.uint64(data.num_classes)).astype(np.int64))
    row_N = torch.zeros(row_size(model), device=device)
    piece_row(
        computing.module,
        job.model_copy(update={"augment": AugmentConfig()}),
        images_BHW.view(rows, data.height, data.width).to(device),
        labels_B.to(device),
        Noise([(torch.Generator(device).manual_seed(0), rows)]),
        row_N,
    )
    return hashlib.sha256(row_N.cpu().numpy().tobytes()).hexdigest()


def check_same_arithmetic(job: TrainJob, worker: Worker) -> str:
    """Compare the workers' arithmetic, and return its hash. Collective.

    Raises ReplicaError, which names the machines, if two workers compute other numbers.
    """
    digest = arithmetic_sha256(job, worker.device)
    place = f"{socket.gethostname()}: {device_name(worker.device)}"
    name = place.encode()[:_NAME_BYTES].ljust(_NAME_BYTES)
    row = np.concatenate(
        [np.frombuffer(bytes.fromhex(digest), _WORD), np.frombuffer(name, np.uint8)]
    )
    rows_SN = np.tile(row.astype(np.float64), (len(worker.shards), 1))
    gathered = worker.gather(torch.from_numpy(rows_SN).to(worker.device)).cpu()
    num_words = len(row) - _NAME_BYTES
    if not bool((gathered[:, :num_words] == gathered[0, :num_words]).all()):
        raise ReplicaError(
            f"the workers compute different numbers: {_places_by_hash(gathered, num_words)}",
            "run all workers on one model of CPU or GPU, with the same packages",
        )
    return digest


def _places_by_hash(gathered: Tensor, num_words: int) -> str:
    """Return one place for each of the different hashes."""
    places: dict[tuple[float, ...], str] = {}
    for row in gathered.tolist():
        name = bytes(int(number) for number in row[num_words:])
        places.setdefault(tuple(row[:num_words]), name.decode(errors="replace").strip())
    return "; ".join(places.values())


def _cpu_model() -> str:
    """Return the model name of the first CPU; its architecture if the system does not say more."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
