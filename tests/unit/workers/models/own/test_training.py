"""A user's own model in the training loop: the job decides its weights, too."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.unit.folders import empty_run
from tests.unit.simulated import on_workers, shard_of, single, tiny_job, tiny_loader, tiny_shape
from tests.unit.workers.data.data_sets import (
    CLASSES,
    EQUAL_VECTORS,
    NUMBER,
    TOKENS,
    VECTORS,
    loader_of,
    shape_of,
)
from tests.unit.workers.gpu.test_shard_rows import InlineQueue
from tests.unit.workers.models.own.sources import GOOD, code, config
from tests.unit.workers.test_gradients import random_rows
from workers.config import DataShape, TrainJob
from workers.data.rows import Batch, Rows
from workers.errors import ModelFailedError, StorageError
from workers.gpu.shard_rows import GpuRows
from workers.models.build import model_of
from workers.models.own.code import ModelCode, write_code
from workers.models.own.installed import code_of
from workers.models.own.step import forward
from workers.models.sequences import model_outputs
from workers.records.run_folder import RunFolder
from workers.records.train_result import TrainResult
from workers.train import train

CPU = torch.device("cpu")


def own_job(folder: Path, own: ModelCode | None = None, cpus: int = 1, **training: Any) -> TrainJob:
    """A tiny job with a model of its own, whose code is in the run folder."""
    own = own or code(GOOD)
    run = empty_run(folder)
    run.storage.create()
    write_code(run, own)
    job = tiny_job(folder, training=training, cpus=cpus)
    return job.model_copy(update={"model": config(own)})


def on(job: TrainJob, num_workers: int) -> TrainResult:
    return on_workers(job, num_workers, lambda worker: train(job, worker))[0]


def test_any_number_of_workers_and_threads_gives_the_same_weights(tmp_path: Path) -> None:
    job = own_job(tmp_path / "one")
    wanted = train(job, single(job)).weights_sha256
    assert wanted
    for number in (1, 2, 3, 4):
        assert on(own_job(tmp_path / f"w{number}"), number).weights_sha256 == wanted
    threaded = own_job(tmp_path / "threads", cpus=3)
    assert train(threaded, single(threaded)).weights_sha256 == wanted
    other = own_job(tmp_path / "seed", seed=1)
    assert train(other, single(other)).weights_sha256 != wanted


@pytest.mark.parametrize("stop_after", [1, 3, 4])
def test_a_job_that_goes_on_elsewhere_ends_with_the_same_weights(
    tmp_path: Path, stop_after: int
) -> None:
    whole = own_job(tmp_path / "whole")
    wanted = train(whole, single(whole)).weights_sha256
    job = own_job(tmp_path / "stopped")
    assert train(job, single(job, stop_after)).stopped
    assert on(job, 2).weights_sha256 == wanted


def test_nothing_of_the_model_stays_in_the_process(tmp_path: Path) -> None:
    job = own_job(tmp_path)
    names, path = set(sys.modules), list(sys.path)
    generator = torch.get_rng_state()
    train(job, single(job))
    assert not {name for name in set(sys.modules) - names if "rnnjob_model" in name}
    assert sys.path == path
    assert torch.equal(torch.get_rng_state(), generator)


def test_code_that_is_not_the_jobs_is_not_imported(tmp_path: Path) -> None:
    job = own_job(tmp_path)
    (tmp_path / "model_code" / "net.py").write_text("raise SystemExit")
    with pytest.raises(StorageError, match="it was changed"):
        train(job, single(job))


def test_a_parameter_that_nothing_uses_is_trained_along(tmp_path: Path) -> None:
    unused = "self.unused = nn.Linear(2, 2)\n        self.head = "
    job = own_job(tmp_path, code(GOOD.replace("self.head = ", unused)))
    assert train(job, single(job)).weights_sha256


def test_a_checkpoint_holds_a_parameter_that_is_a_single_number(tmp_path: Path) -> None:
    scaled = GOOD.replace(
        "self.head = ", "self.scale = nn.Parameter(torch.tensor(1.0))\n        self.head = "
    )
    scaled = scaled.replace("return self.head(", "return self.scale * self.head(")
    whole = own_job(tmp_path / "whole", code(scaled))
    job = own_job(tmp_path / "stopped", code(scaled))
    train(job, single(job, stop_after=2))
    assert train(job, single(job)).weights_sha256 == train(whole, single(whole)).weights_sha256
    starts = [r for r in RunFolder.at(job.run_uri).read_metrics() if r["kind"] == "start"]
    assert [record["step"] for record in starts] == [0, 2]


def test_what_a_model_prints_goes_to_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loud = GOOD.replace("h_BTH, _ =", "print('in forward')\n        h_BTH, _ =")
    job = own_job(tmp_path, code(loud + "\nprint('at import')\n"))
    train(job, single(job))
    out, err = capsys.readouterr()
    assert not out
    assert "at import" in err and "in forward" in err


def test_an_evaluation_drops_nothing_and_a_model_knows_that_it_is_one(tmp_path: Path) -> None:
    told = GOOD.replace(
        "h_BTH, _", "print('training' if self.training else 'evaluating')\n        h_BTH, _"
    )
    job = own_job(
        tmp_path,
        code(told.replace("print(", "MODES.append(").replace("class", "MODES = []\n\nclass")),
    )
    with code_of(job):
        model = model_of(job)
        modes: list[str] = type(model).forward.__globals__["MODES"]
        worker = single(job)
        train(job, worker)
    # Two shards of four have no rows in the last of three steps; the comparison of arithmetic is
    # one call more. There are two validations and a test.
    assert modes.count("training") == 2 * (4 + 4 + 2) + 1
    assert modes.count("evaluating") == 3 * 4


def test_an_error_in_a_step_names_the_line(tmp_path: Path) -> None:
    late = GOOD.replace("h_BTH, _ =", "if not self.training: 1 / 0\n        h_BTH, _ =")
    job = own_job(tmp_path, code(late))
    with pytest.raises(ModelFailedError) as caught:
        train(job, single(job))
    assert caught.value.cause == (
        "the model raised an error: net.py:14: ZeroDivisionError: division by zero"
    )
    assert caught.value.cure == "correct it: net.py:14"


def test_what_a_cuda_graph_cannot_record_has_a_cure_of_its_own() -> None:
    class Asking(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")

    with pytest.raises(ModelFailedError) as caught:
        forward(Asking(), torch.zeros(1, 1, 1), None, None)
    assert ".item()" in caught.value.cure and "torch.where" in caught.value.cure


def test_calls_of_one_fixed_shape_have_the_same_bits_on_any_number_of_lanes(
    tmp_path: Path,
) -> None:
    job = own_job(tmp_path, global_batch_size=32)
    job = job.model_copy(update={"data": tiny_shape(train_rows=64)})
    rows = random_rows(26, job.data)
    batches = {shard: shard_of(rows, 4, shard) for shard in range(4)}
    with code_of(job):
        found = []
        for lanes in (1, 2, 4):
            gpu = GpuRows(
                model_of(job), job, range(4), CPU, lambda device: InlineQueue(), max_lanes=lanes
            )
            found += [gpu.shard_rows(0, step, batches).clone() for step in (2, 3, 2)]
    assert all(torch.equal(row, found[0]) for row in (found[2], found[3], found[5], found[8]))
    assert not torch.equal(found[0], found[1]), "each step draws other numbers"


def vector_job(folder: Path) -> TrainJob:
    return own_job(folder).model_copy(update={"data": shape_of(VECTORS, CLASSES)})


OF_TOKENS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, vocabulary_size, num_outputs):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, 6, padding_idx=0)
        self.drop = nn.Dropout1d(0.2)
        self.head = nn.Linear(6, num_outputs)

    def forward(self, tokens_BT, lengths_B):
        h_BTH = self.drop(self.embedding(tokens_BT))
        return self.head(h_BTH.sum(1) / lengths_B.unsqueeze(1))
"""


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        (GOOD, shape_of(VECTORS, CLASSES)),
        (GOOD, shape_of(VECTORS, NUMBER)),
        (GOOD, shape_of(EQUAL_VECTORS, CLASSES)),
        (OF_TOKENS, shape_of(TOKENS, NUMBER)),
    ],
    ids=["vectors", "regression", "equal", "tokens"],
)
def test_sequences_of_any_kind_have_the_same_weights_on_any_number_of_workers(
    tmp_path: Path, text: str, shape: DataShape
) -> None:
    keep = {"metric": "validation_loss"}
    jobs = [own_job(tmp_path / str(number), code(text), **keep) for number in range(4)]
    jobs = [job.model_copy(update={"data": shape}) for job in jobs]
    load = loader_of(shape)
    found = [
        on_workers(job, number or 1, lambda worker, job=job: train(job, worker), load)[0]  # type: ignore[misc]
        for number, job in enumerate(jobs)
    ]
    assert len({result.weights_sha256 for result in found}) == 1


def test_a_model_sees_lengths_and_zeros_behind_them(tmp_path: Path) -> None:
    job = vector_job(tmp_path)
    lengths = torch.tensor([3, 1, 9])
    rows = Rows(torch.randn(13, 3), torch.tensor([0, 1, 0]), lengths, is_padded=False)
    seen: list[torch.Tensor] = []

    class Net(nn.Module):
        def forward(self, x_BTF: torch.Tensor, lengths_B: torch.Tensor) -> torch.Tensor:
            seen[:] = [x_BTF, lengths_B]
            return x_BTF[:, 0, :2]

    batch: Batch = rows.batch()
    outputs = model_outputs(Net(), batch, job)
    assert outputs.shape == (3, 2) and outputs.dtype == torch.float32
    assert torch.equal(seen[1], lengths)
    assert bool((seen[0][0, 3:] == 0).all()) and bool((seen[0][1, 1:] == 0).all())


def test_equally_long_rows_have_lengths_too(tmp_path: Path) -> None:
    job = own_job(tmp_path)
    images = tiny_loader(job.data)(0)["train"]
    seen: list[torch.Tensor] = []

    class Net(nn.Module):
        def forward(self, x_BTF: torch.Tensor, lengths_B: torch.Tensor) -> torch.Tensor:
            seen.append(lengths_B)
            return x_BTF[:, 0]

    model_outputs(Net(), images.batch(), job)
    assert seen[0].tolist() == [5] * len(images)
