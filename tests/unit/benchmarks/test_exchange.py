"""benchmarks/exchange.py works, and says so if a process of it does not."""

import re
import sys
from pathlib import Path

import pytest
import torch.distributed as dist

from benchmarks.gloo_group import in_group
from tests.commands import output_of
from tests.conftest import ROOT


@pytest.mark.slow
def test_a_smoke_measures_the_exchange_a_step_and_a_sum() -> None:
    printed = output_of([sys.executable, "-m", "benchmarks.exchange", "--smoke"], cwd=ROOT)
    rows = re.findall(r"^\| [\d,]+ \|.*\|$", printed, re.MULTILINE)
    assert [row.count("|") for row in rows] == [5, 7, 3]
    numbers = [float(cell) for row in rows for cell in row.replace(",", "").split("|")[1:-1]]
    assert all(number >= 0 for number in numbers) and sum(numbers) > 0


def fails_on_rank_1(rank: int, world_size: int, folder: Path) -> None:
    """Rank 0 waits for a rank that never comes."""
    if rank == 1:
        sys.exit(7)
    dist.barrier()


@pytest.mark.slow
def test_a_process_that_fails_ends_the_benchmark(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"\[None, 7\]"):
        in_group(fails_on_rank_1, 2, tmp_path)
