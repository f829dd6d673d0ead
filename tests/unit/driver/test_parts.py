"""Work in parts: each row is in one part, and parts put together are what one process computes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.driver.parts import request as request_module
from orchestrator.driver.parts.computer import PartComputer
from orchestrator.driver.parts.handover import tell_driver_that_it_was_seen
from orchestrator.driver.parts.predict import put_together
from orchestrator.driver.parts.request import (
    PART_BLOCKS,
    PredictRequest,
    hash_of,
    missing_parts,
    read_request,
    to_bytes,
)
from orchestrator.trained.parts import Work
from orchestrator.trained.predict.here import predictions
from orchestrator.trained.predict.inputs import InputFlags, open_inputs
from orchestrator.trained.predict.on_ray import prediction_work, run_prediction
from orchestrator.trained.predict.output import open_output, write_output
from orchestrator.trained.trained_run import TrainedRun, open_trained
from tests.small_disk import fill, mounted
from tests.unit.datasets.tables.made import sequences, write
from tests.unit.trained.runs import train
from tests.unit.trained.test_predictor import trained as untrained
from tests.unit.workers.data import data_sets
from workers.errors import InputError, WorkerFailedError
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage


def request_for(sizes: list[tuple[int, int]]) -> PredictRequest:
    """A request for files with these numbers of rows, and rows of a block."""
    model = untrained(data_sets.VECTORS, data_sets.CLASSES)
    same = {"uri": "/x", "path": "/x", "name": "x", "shown": "x", "size": 1, "modified_ns": 1}
    files = [{**same, "digest": "d", "num_rows": n, "block_rows": b} for n, b in sizes]
    return PredictRequest.model_validate(
        {
            "job": model.job, "weights_sha256": "0" * 64, "files": files, "id_column": "id",
            "id_type": None, "form": "jsonl", "output_folder": "/o", "output_name": "o.jsonl",
        }
    )  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 40)), max_size=8))
def test_each_row_is_in_one_part_in_order_and_parts_are_cut_between_blocks(
    sizes: list[tuple[int, int]],
) -> None:
    request = request_for(sizes)
    rows = []
    for part in request.parts():
        num_blocks = 0
        for one in part:
            block_rows = sizes[one.file][1]
            assert one.first % block_rows == 0
            num_blocks += -(-one.num_rows // block_rows)
            rows += [(one.file, row) for row in range(one.first, one.first + one.num_rows)]
        assert 0 < num_blocks <= PART_BLOCKS
    assert rows == [(file, row) for file, (n, _) in enumerate(sizes) for row in range(n)]
    assert sum(request.part_rows()) == len(rows)


def test_another_request_than_the_one_that_was_sent_is_refused(tmp_path: Path) -> None:
    folder, request = Storage(str(tmp_path)), request_for([(100, 10)])
    content = to_bytes(request)
    folder.write(request_module.REQUEST, content)
    assert read_request(folder, hash_of(content)) == request
    with pytest.raises(InputError, match="is not the request that was written"):
        read_request(folder, hash_of(b"another"))


class InThisProcess:
    """A launcher that computes the parts in this process, as actors do on Ray."""

    def __init__(self, stop_after: int = 1000, outcome: dict[str, Any] | None = None) -> None:
        self._stop_after, self._outcome = stop_after, outcome
        self.computed: list[int] = []
        self.was_killed = False

    def submit_program(
        self, run: RunFolder, program: tuple[str, ...], pip: tuple[str, ...]
    ) -> None:
        _, uri, sha256, _, attempt = program
        folder = Storage(uri)
        computer = PartComputer(uri, sha256)
        assert computer.load() == {}
        outcome: dict[str, Any] = {}
        request = read_request(folder, sha256)
        for part in missing_parts(folder, request)[: self._stop_after]:
            self.computed.append(part)
            outcome = outcome or computer.compute(part)
        if missing_parts(folder, request) and not outcome:
            return  # as if it was killed
        if not outcome:
            assert isinstance(request, PredictRequest)
            put_together(request, folder)
        folder.write("outcome.json", json.dumps({**outcome, "attempt": attempt}).encode())

    def is_alive(self, run: RunFolder) -> bool:
        return False

    def why_it_ended(self, run: RunFolder) -> str:
        return "it was killed"

    def kill(self, run: RunFolder) -> bool:
        self.was_killed = True
        return True


@pytest.fixture
def taps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainedRun:
    """A run on sequences, and two files to predict."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RNNJOB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("RNNJOB_STATE_DIR", str(tmp_path / "state"))
    write(tmp_path / "train.parquet", {"x": sequences(64), "y": ["no", "yes"] * 32})
    train("r", "parquet:train.parquet")
    table = pa.table({"x": sequences(7000, seed=1)})
    write(tmp_path / "new/a.parquet", table.slice(0, 5000), row_group_size=700)
    write(tmp_path / "new/b.parquet", table.slice(5000))
    monkeypatch.setattr(request_module, "PART_BLOCKS", 2)
    return open_trained(Storage("runs"), "r")


def local(trained: TrainedRun, name: str) -> bytes:
    from orchestrator.trained.predict.here import prediction_columns

    output = open_output(name, force=True)
    inputs = open_inputs(trained, ["new"], InputFlags())
    rows = predictions(trained, inputs)
    assert write_output(output, prediction_columns(trained, inputs), rows, lambda _: None) == 7000
    return Path(name).read_bytes()


def work_of(trained: TrainedRun, name: str, launcher: InThisProcess) -> Work:
    return prediction_work(trained, ["new"], open_output(name, False), launcher, 2)


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_parts_together_are_the_bits_of_one_process(taps: TrainedRun, form: str) -> None:
    wanted = local(taps, f"local.{form}")
    launcher = InThisProcess()
    work = work_of(taps, f"parts.{form}", launcher)
    assert work.begin() == 0
    told: list[int] = []
    assert run_prediction(work, told.append) == 7000
    assert launcher.computed == [0, 1, 2, 3] and told[-1] == 7000
    if form == "jsonl":
        assert Path("parts.jsonl").read_bytes() == wanted
    assert equal_tables(f"parts.{form}", f"local.{form}")
    assert not Path(f"parts.{form}.partial").exists()


def equal_tables(first: str, second: str) -> bool:
    if first.endswith("jsonl"):
        return True
    one, other = pq.read_table(first), pq.read_table(second)
    return bool(one.equals(other)) and len(np.unique(one["row"].to_numpy()[:5000])) == 5000


def test_killed_work_goes_on_with_the_parts_that_are_missing(taps: TrainedRun) -> None:
    first = InThisProcess(stop_after=3)
    work = work_of(taps, "p.jsonl", first)
    work.begin()
    with pytest.raises(WorkerFailedError, match="it was killed"):
        run_prediction(work, lambda _: None)
    assert first.was_killed and not Path("p.jsonl").exists()
    second = InThisProcess()
    work = work_of(taps, "p.jsonl", second)
    assert work.begin() == 3
    assert run_prediction(work, lambda _: None) == 7000
    assert second.computed == [3]
    assert Path("p.jsonl").read_bytes() == local(taps, "local.jsonl")


@pytest.mark.parametrize("lives", [True, False])
def test_the_driver_of_a_client_that_was_killed_removes_the_parts_of_a_complete_output(
    taps: TrainedRun, monkeypatch: pytest.MonkeyPatch, lives: bool
) -> None:
    monkeypatch.setattr(request_module, "PART_BLOCKS", PART_BLOCKS)  # as in the driver's process
    work = work_of(taps, "p.jsonl", InThisProcess())
    work.begin()
    sha256 = hash_of(to_bytes(work.request))
    computer = PartComputer(work.folder.uri, sha256)
    assert computer.load() == {}
    for part in missing_parts(work.folder, work.request):
        computer.compute(part)
    if lives:
        tell_driver_that_it_was_seen(work.folder, "first")
    parent = os.getpid() if lives else 1
    more = {"RNNJOB_RAY_DIR": str(Path("ray").absolute()), "RNNJOB_PARENT_PID": str(parent)}
    command = ("-m", "orchestrator.driver.parts", work.folder.uri, sha256, "1", "first")
    done = subprocess.run([sys.executable, *command], env={**os.environ, **more}, check=False)
    assert done.returncode == 0
    assert Path("p.jsonl").read_bytes() == local(taps, "local.jsonl")
    assert Path("p.jsonl.partial").exists() == lives


def test_a_full_disk_keeps_the_parts_that_are_whole_and_goes_on_with_room(
    taps: TrainedRun, tmp_path: Path
) -> None:
    with mounted(tmp_path / "disk", "size=4m") as disk:
        work = work_of(taps, f"{disk}/p.jsonl", InThisProcess())
        work.begin()
        ballast = fill(disk, leave=500_000)
        with pytest.raises(WorkerFailedError, match="No space left on device") as full:
            run_prediction(work, lambda _: None)
        assert "has room, then run the same command again" in full.value.cure
        names = {path.name for path in work.folder.local_path.iterdir()}  # type: ignore[union-attr]
        assert names == {"request.json", "outcome.json", "part-00000.jsonl"}
        assert not (disk / "p.jsonl").exists()
        ballast.unlink()
        work = work_of(taps, f"{disk}/p.jsonl", InThisProcess())
        assert work.begin() == 1
        assert run_prediction(work, lambda _: None) == 7000
        assert (disk / "p.jsonl").read_bytes() == local(taps, "local.jsonl")
        assert [path.name for path in disk.iterdir()] == ["p.jsonl"]


def test_parts_of_other_rows_are_never_used(taps: TrainedRun) -> None:
    work = work_of(taps, "p.jsonl", InThisProcess(stop_after=1))
    work.begin()
    with pytest.raises(WorkerFailedError):
        run_prediction(work, lambda _: None)
    write(Path("new/b.parquet"), {"x": sequences(2000, seed=5)})
    launcher = InThisProcess()
    work = work_of(taps, "p.jsonl", launcher)
    with pytest.raises(InputError, match="has parts of other work"):
        work.begin()
    assert work.begin(force=True) == 0
    assert run_prediction(work, lambda _: None) == 7000
    assert launcher.computed == [0, 1, 2, 3]


def test_a_bad_row_ends_the_work_and_leaves_nothing(taps: TrainedRun) -> None:
    write(Path("new/c.parquet"), {"x": [[[1.0, 2.0]], [[1.0, 2.0], [3.0]]]})
    work = work_of(taps, "p.jsonl", InThisProcess())
    work.begin()
    with pytest.raises(InputError, match=r"row 1 \(from 0\) of c.parquet"):
        run_prediction(work, lambda _: None)
    assert not list(Path().glob("p.jsonl*"))


@pytest.mark.parametrize("change", ["weights", "outcome"])
def test_what_belongs_to_another_attempt_is_not_taken(
    taps: TrainedRun, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = InThisProcess()
    work = work_of(taps, "p.jsonl", launcher)
    work.begin()
    if change == "outcome":
        old = {"error": {"cause": "old", "cure": "", "exit_code": 1}, "attempt": "old"}
        work.folder.write("outcome.json", json.dumps(old).encode())
        assert run_prediction(work, lambda _: None) == 7000
        return
    import safetensors.torch

    path = "runs/r/model.safetensors"
    weights = {name: t + 1 for name, t in safetensors.torch.load_file(path).items()}
    safetensors.torch.save_file(weights, path)
    [error] = PartComputer(work.folder.uri, hash_of(to_bytes(work.request))).load().values()
    assert "the weights of r have changed" in error["cause"] and error["exit_code"] == 2
