"""What a shard's dataset in Ray Data says, and what a worker makes of it."""

from pathlib import Path

import pyarrow as pa
import torch

from orchestrator.datasets.prepare import prepare
from tests.unit.datasets.idx_files import write_idx_files
from workers.config import SPLITS
from workers.shards.shard_block import files_of, shard_block


def test_a_worker_reads_the_rows_of_the_files_that_a_dataset_names(tmp_path: Path) -> None:
    write_idx_files(tmp_path / "idx", 200, 40)
    data = prepare("mnist", tmp_path / "idx", num_shards=3, cache=tmp_path / "cache")
    for shard in range(3):
        block = shard_block(data.shard(shard))
        assert block.nbytes < 4096  # the rows are not in it
        empty = block.slice(0, 0)
        found = files_of(iter([empty, block]), data.shape).load()
        wanted = data.shard(shard).load()
        for split in SPLITS:
            assert all(map(torch.equal, found[split].tensors, wanted[split].tensors))


def test_a_dataset_keeps_the_command_that_cuts_the_data_again(tmp_path: Path) -> None:
    write_idx_files(tmp_path / "idx", 200, 40)
    data = prepare("mnist", tmp_path / "idx", num_shards=3, cache=tmp_path / "cache")
    block: pa.Table = shard_block(data.shard(0))
    assert "data prepare" in block.column(0)[0].as_py()
