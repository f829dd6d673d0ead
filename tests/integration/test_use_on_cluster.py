"""`predict` and `evaluate` on a cluster of real Ray nodes: the bits of one process."""

from collections.abc import Iterator

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.conftest import Cli
from tests.e2e.test_predict import OWN_MODEL
from tests.integration.real_cluster import real_cluster
from tests.unit.datasets.tables.made import write

JOB = [
    "submit", "--local", "--json", "--dataset", "parquet:train.parquet", "--model", "net.py:Mean",
    "--epochs", "1", "--batch-size", "16", "--run-id", "own",
]  # fmt: skip

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def cli(module_rnnjob: Cli) -> Iterator[Cli]:
    folder = module_rnnjob.cwd
    (folder / "net.py").write_text(OWN_MODEL)
    random = np.random.default_rng(0)
    rows = [random.normal(size=(random.integers(1, 6), 2)).tolist() for _ in range(3000)]
    names = [("no", "yes")[n % 2] for n in range(3000)]
    write(folder / "train.parquet", {"x": rows[:96], "y": names[:96]})
    for number in range(3):
        part = slice(number * 1000, (number + 1) * 1000)
        write(folder / f"new/{number}.parquet", {"x": rows[part], "y": names[part]})
    with real_cluster(module_rnnjob, 3) as (cli, _):
        done = cli(*JOB)
        assert done.exit_code == 0, done.stderr
        yield cli


def test_a_cluster_predicts_with_the_code_of_the_run_folder(cli: Cli) -> None:
    alone = cli("predict", "own", "new", "-o", "alone.parquet")
    assert alone.exit_code == 0, alone.stderr
    (cli.cwd / "net.py").unlink()
    there = cli("predict", "own", "new", "-o", "there.parquet", "--address", "local", "--json")
    assert there.exit_code == 0, there.stderr
    assert there.json["rows"] == 3000
    table = pq.read_table(cli.cwd / "there.parquet")
    assert table.equals(pq.read_table(cli.cwd / "alone.parquet"))
    assert not (cli.cwd / "there.parquet.partial").exists()


def test_a_cluster_evaluates_with_the_bits_of_one_process(cli: Cli) -> None:
    rows = ("--dataset", "parquet:new", "--json")
    alone = cli("evaluate", "own", *rows)
    there = cli("evaluate", "own", *rows, "--address", "local", "--workers", "2")
    assert there.exit_code == 0, there.stderr
    assert there.json == alone.json


def test_a_bad_row_is_named_though_a_node_met_it(cli: Cli) -> None:
    write(cli.cwd / "bad.parquet", {"x": [[[1.0, 2.0]], [[1.0, float("nan")]]]})
    done = cli("predict", "own", "bad.parquet", "-o", "bad.jsonl", "--address", "local")
    assert done.exit_code == 2
    assert "row 1 (from 0) of bad.parquet" in done.stderr
    assert not list(cli.cwd.glob("bad.jsonl*"))
