"""What a worker computes with, and whether all workers compute the same numbers with it.

Equal bits need equal kernels. Two models of CPUs or GPUs in one job, or two releases of torch, give
other bits without an error. So each worker computes one small gradient whose value is known from
the job alone, and all compare its hash before their first step. S shards, N numbers.
"""

import hashlib
import logging
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from workers.checkpoints.weights import Weights
from workers.config import AugmentConfig, TrainJob
from workers.cpu import cpu_model
from workers.data.random_rows import random_batch
from workers.data.rows import Batch
from workers.errors import ReplicaError
from workers.models.build import model_of
from workers.models.compute_copy import ComputeCopy
from workers.models.noise import Noise
from workers.models.sequences import hidden_outputs
from workers.pieces import MICRO_BATCH_ROWS, piece_row, row_size, rules_of
from workers.worker import Worker

log = logging.getLogger(__name__)
_ALLOW = "--set limits.mixed_hardware=allow"
_CURE = (
    "run all workers on one model of CPU or GPU, with the same packages; or accept other bits than "
    f"those of one machine: {_ALLOW}"
)
_MAX_STEPS = 32
_MAX_OUTPUTS = 2**20
"""The most hidden outputs of the gradient, so that it takes well under a second."""
_NAME_BYTES = 160
_WORD = np.dtype("<u4")


def device_name(device: torch.device) -> str:
    """Return the model of the GPU, or of the CPU with torch's choice of instructions, and torch's
    release."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{cpu_model()} ({capability}), torch {torch.__version__}"


def arithmetic_sha256(job: TrainJob, device: torch.device) -> str:
    """Return the hash of one small gradient: the job's first weights, and random rows.

    It depends on the job, and on what computes it: the device, the libraries, their settings.
    """
    small = _with_short_rows(job.model_copy(update={"augment": AugmentConfig()}))
    model = model_of(small).to(device)
    computing = ComputeCopy(model, job.training.precision, device)
    batch = _small_batch(small, device)
    row_N = torch.zeros(row_size(model), device=device)
    noise = Noise([(torch.Generator(device).manual_seed(0), len(batch))])
    piece_row(computing.module, small, rules_of(job), batch, noise, row_N)
    return hashlib.sha256(row_N.cpu().numpy().tobytes()).hexdigest()


def _small_batch(job: TrainJob, device: torch.device) -> Batch:
    max_steps = _MAX_STEPS
    if job.model.class_path is not None or not job.data.input.is_table:
        # The model may not be made for shorter sequences, and images are not cut.
        max_steps = max(max_steps, job.data.input.sequence_shape(job.model.read).min_length)
    outputs = hidden_outputs(job, max_steps)
    num_rows = min(MICRO_BATCH_ROWS, job.rows_per_shard_step, _MAX_OUTPUTS // outputs)
    return random_batch(job.data, max(1, num_rows), max_steps, device)


def _with_short_rows(job: TrainJob) -> TrainJob:
    """Return the job with images of at most _MAX_STEPS time steps; sequences are cut later.

    A user's own model may be made for the size of the images.
    """
    if job.model.class_path is not None:
        return job
    short = job.data.input.shortened(job.model.read, _MAX_STEPS)
    return job.model_copy(update={"data": job.data.model_copy(update={"input": short})})


@dataclass(frozen=True)
class Arithmetic:
    """What the workers compute with."""

    sha256: str
    """The hash of this worker's gradient."""
    differing: str = ""
    """The machines, if the workers compute different numbers; see `places_that_differ`."""


def check_same_arithmetic(job: TrainJob, worker: Worker) -> Arithmetic:
    """Compare the workers' arithmetic. Collective.

    If two workers compute other numbers, raises ReplicaError, which names the machines. It is only
    a warning if the job allows it, or does not promise equal bits (`gradients: fused`).
    """
    digest = arithmetic_sha256(job, worker.device)
    differing = places_that_differ(worker, digest)
    if differing:
        cause = f"the workers compute different numbers: {differing}"
        if _must_be_equal(job):
            raise ReplicaError(cause, _CURE)
        log.warning("%s", cause)
    return Arithmetic(digest, differing)


def check_earlier_arithmetic(job: TrainJob, worker: Worker, others: Sequence[str]) -> None:
    """Raise ReplicaError if others computed steps of the run with another arithmetic. Collective.

    It is only a warning where `check_same_arithmetic` only warns.

    Args:
        others: the machines of these steps, on worker 0, which has the record of them.
    """
    flags_L1 = torch.full((len(worker.shards), 1), float(bool(others)), device=worker.device)
    if not float(worker.gather(flags_L1)[0, 0]):
        return
    cause = f"{place_of(worker.device)} computes other bits than {' and '.join(others)}"
    if _must_be_equal(job):
        raise ReplicaError(
            f"{cause}, where steps of this run were computed",
            f"go on there, or accept other bits from here on: rnnjob resume {job.run_id} {_ALLOW}",
        )
    log.warning("%s", cause)


def _must_be_equal(job: TrainJob) -> bool:
    return job.training.gradients == "exact" and job.mixed_hardware == "error"


def check_same_weights(job: TrainJob, worker: Worker, digest: str, epoch: int) -> bool:
    """Return whether all workers hold weights with this hash. Collective.

    With different weights, the result would depend on which worker stores the model. So this raises
    ReplicaError, unless the job allows mixed hardware.
    """
    differing = places_that_differ(worker, digest)
    if differing and job.mixed_hardware == "error":
        raise ReplicaError(f"the workers' weights differ after epoch {epoch}: {differing}", _CURE)
    return not differing


def those_of_worker_0(worker: Worker, tensors: Weights) -> Weights:
    """Return the values that worker 0 passes, on every worker. Collective."""
    return {
        name: worker.all_reduce(
            (tensor if worker.rank == 0 else torch.zeros_like(tensor)).flatten().to(worker.device)
        )
        .view(tensor.shape)
        .cpu()
        for name, tensor in tensors.items()
    }


def place_of(device: torch.device) -> str:
    """Return the machine of this process and what it computes with."""
    return f"{socket.gethostname()}: {device_name(device)}"


def places_that_differ(worker: Worker, digest: str) -> str:
    """Return one machine, with its device, for each of the different hashes. Collective.

    Returns an empty text if all workers pass the same hash.
    """
    place = place_of(worker.device).encode()
    row = np.concatenate(
        [
            np.frombuffer(bytes.fromhex(digest), _WORD),
            np.frombuffer(place[:_NAME_BYTES].ljust(_NAME_BYTES), np.uint8),
        ]
    )
    rows_SN = np.tile(row.astype(np.float64), (len(worker.shards), 1))
    gathered = worker.gather(torch.from_numpy(rows_SN).to(worker.device)).tolist()
    places: dict[tuple[float, ...], str] = {}
    for words in gathered:
        name = bytes(int(number) for number in words[-_NAME_BYTES:])
        places.setdefault(tuple(words[:-_NAME_BYTES]), name.decode(errors="replace").strip())
    return "; ".join(places.values()) if len(places) > 1 else ""
