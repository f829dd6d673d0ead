"""`evaluate`, `predict` and `export` with a cluster of real Ray nodes: the bits of one process."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import orchestrator.datasets
from tests.conftest import Cli, Finished
from tests.e2e.export_runs import PACKAGE, PARTS, RUNS, SMALL, rows
from tests.integration.real_cluster import real_cluster
from tests.unit.datasets.tables.made import write

KINDS = ("images", "vectors", "tokens", "numbers", "package")
"""Images, sequences of several lengths, tokens, a number as target, a model of the user's own."""
NUM_FILES = 130
"""More blocks than two parts have."""
MORE = {"images": ("--invert",)}
"""Flags of predict."""

pytestmark = pytest.mark.release


@pytest.fixture(scope="module")
def cli(module_rnnjob: Cli) -> Iterator[Cli]:
    """A cluster of three nodes, and a run of each kind whose code is only in its folder now."""
    folder = module_rnnjob.cwd
    rows(folder / "rows.parquet")
    (folder / "nets").mkdir()
    (folder / "nets" / "__init__.py").write_text("")
    (folder / "nets" / "mean.py").write_text(PACKAGE)
    (folder / "nets" / "parts.py").write_text(PARTS)
    cut(pq.read_table(folder / "rows.parquet"), folder / "new")
    sample = Path(orchestrator.datasets.__file__).with_name("mnist_sample.parquet")
    cut(pq.read_table(sample).slice(0, 260), folder / "digits")
    with real_cluster(module_rnnjob, 3) as (cli, _):
        for run_id in KINDS:
            done = cli("submit", "--local", "--run-id", run_id, *RUNS[run_id], *SMALL)
            assert done.exit_code == 0, done.stderr
        shutil.rmtree(folder / "nets")
        yield cli


def cut(table: pa.Table, folder: Path) -> None:
    for number in range(NUM_FILES):
        first, last = (table.num_rows * n // NUM_FILES for n in (number, number + 1))
        write(folder / f"{number:03}.parquet", table.slice(first, last - first))


def both(cli: Cli, first: tuple[str, ...], second: tuple[str, ...]) -> list[Finished]:
    """Run two commands on the cluster at once."""
    started = [cli.start(*command, "--address", "local") for command in (first, second)]
    done = []
    for process in started:
        stdout, stderr = process.communicate(timeout=600)
        assert process.returncode == 0, stderr
        done.append(Finished(process.returncode, stdout, stderr))
    return done


def result_of(cli: Cli, run_id: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((cli.cwd / "runs" / run_id / "result.json").read_text())
    return content


@pytest.mark.parametrize("run_id", KINDS)
def test_a_cluster_evaluates_and_predicts_with_the_bits_of_one_process(
    cli: Cli, run_id: str
) -> None:
    evaluate = ("evaluate", run_id, "--json")
    inputs = "digits" if run_id == "images" else "new"
    predict = ("predict", run_id, inputs, *MORE.get(run_id, ()), "--json", "-o")
    here = cli(*evaluate)
    assert cli(*predict, f"{run_id}-here.parquet").exit_code == 0
    evaluated, predicted = both(cli, evaluate, (*predict, f"{run_id}-there.parquet"))
    assert evaluated.json == here.json
    result = result_of(cli, run_id)
    assert evaluated.json["weights_sha256"] == result["weights_sha256"]
    assert evaluated.json["loss"] == result["test_loss"]
    assert evaluated.json["rows"] == result["test_rows"]
    alone, there = (pq.read_table(cli.cwd / f"{run_id}-{at}.parquet") for at in ("here", "there"))
    assert there.equals(alone) and there.num_rows == predicted.json["rows"] >= 160
    assert not (cli.cwd / f"{run_id}-there.parquet.partial").exists()
    assert not list((cli.cwd / "runs" / ".parts").iterdir())


def test_a_run_of_the_cluster_is_used_and_exported_on_this_machine(cli: Cli) -> None:
    job = ("--run-id", "far", *RUNS["vectors"], *SMALL, "--workers", "2")
    done = cli("submit", *job, "--address", "local")
    assert done.exit_code == 0, done.stderr
    weights = result_of(cli, "vectors")["weights_sha256"]
    assert done.json["weights_sha256"] == weights
    for form in ("safetensors", "torchscript", "bundle"):
        exported = cli("export", "far", "--format", form, "-o", f"far.{form}", "--json")
        assert exported.exit_code == 0, exported.stderr
        assert exported.json["weights_sha256"] == weights
        assert exported.json["check"]["rows"] == result_of(cli, "far")["test_rows"]
        assert exported.json["check"]["other_classes"] == 0
    assert cli("predict", "far", "new", "-o", "far.parquet").exit_code == 0
    table = pq.read_table(cli.cwd / "far.parquet")
    assert cli("predict", "vectors", "new", "-o", "near.parquet").exit_code == 0
    assert table.equals(pq.read_table(cli.cwd / "near.parquet"))


def test_a_bad_row_is_named_though_a_node_met_it(cli: Cli) -> None:
    write(cli.cwd / "bad.parquet", {"accel": [[[1.0, 2.0]], [[1.0, float("nan")]]]})
    done = cli("predict", "vectors", "bad.parquet", "-o", "bad.jsonl", "--address", "local")
    assert done.exit_code == 2
    assert "row 1 (from 0) of bad.parquet" in done.cause
    assert not list(cli.cwd.glob("bad.jsonl*"))
