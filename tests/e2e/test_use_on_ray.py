"""`predict` and `evaluate` on a Ray of this machine: the bits of one process, killed or not."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator import open_run
from tests.conftest import Cli, wait_for
from tests.e2e.test_evaluate import run_here, succeed
from tests.unit.datasets.tables.made import write
from tests.unit.trained.runs import train

NUM_ROWS = 300_000
"""Five parts."""


@pytest.fixture(scope="module")
def work(module_rnnjob: Cli) -> Iterator[Path]:
    """A folder with a run on sequences, and many rows to predict in two files."""
    folder = module_rnnjob.cwd
    random = np.random.default_rng(0)
    small = random.normal(size=(64, 3, 2)).tolist()
    write(folder / "train.parquet", {"x": small, "y": ["no", "yes"] * 32})
    lengths = random.integers(1, 4, NUM_ROWS)
    steps = pa.array(random.normal(size=int(lengths.sum()) * 2).astype(np.float32))
    vectors = pa.FixedSizeListArray.from_arrays(steps, 2)
    ends = pa.array(np.concatenate([[0], lengths.cumsum()]), pa.int32())
    rows = pa.table({"x": pa.ListArray.from_arrays(ends, vectors), "id": range(NUM_ROWS)})
    write(folder / "new/a.parquet", rows.slice(0, 200_000), row_group_size=60_000)
    write(folder / "new/b.parquet", rows.slice(200_000))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, value in module_rnnjob.environment.items():
            if name.startswith(("RNNJOB_", "XDG_")):
                patch.setenv(name, value)
        train("small", "parquet:train.parquet", model__hidden_size=4, training__epochs=1)
        yield folder


@pytest.mark.release
def test_a_killed_prediction_goes_on_and_has_the_bits_of_one_process(
    work: Path, module_rnnjob: Cli, no_process_left: None
) -> None:
    succeed("predict", "small", "new", "-o", "here.parquet")
    command = ("predict", "small", "new", "-o", "ray.parquet", "--workers", "2")
    first = module_rnnjob.start(*command)
    partial = work / "ray.parquet.partial"
    wait_for(lambda: list(partial.glob("part-*")))
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    done = len(list(partial.glob("part-*")))
    assert 0 < done < 5 and not (work / "ray.parquet").exists()
    second = module_rnnjob(*command, "--json")
    assert second.exit_code == 0, second.stderr
    assert second.json["rows"] == NUM_ROWS
    assert "of 5 parts are done already" in second.stderr
    on_ray, alone = pq.read_table(work / "ray.parquet"), pq.read_table(work / "here.parquet")
    assert on_ray.equals(alone)
    assert on_ray["id"].to_pylist() == list(range(NUM_ROWS))
    assert not partial.exists()


def test_the_sums_of_an_evaluation_are_those_of_one_process(
    work: Path, module_rnnjob: Cli, no_process_left: None
) -> None:
    rows = pq.read_table("train.parquet")
    write(work / "labelled.parquet", pa.concat_tables([rows] * 5))
    command = ("evaluate", "small", "--dataset", "parquet:labelled.parquet", "--json")
    on_ray = module_rnnjob(*command, "--workers", "2")
    assert on_ray.exit_code == 0, on_ray.stderr
    assert on_ray.json == json.loads(succeed(*command).stdout)
    assert not list((work / "runs" / ".parts").iterdir())


@pytest.mark.release
def test_python_computes_on_ray_what_it_computes_here(work: Path, no_process_left: None) -> None:
    run = open_run("small")
    rows = str(work / "new/b.parquet")
    assert run.predict_to("api.parquet", rows, workers=2) == 100_000
    assert pq.read_table("api.parquet").equals(run.predict(rows))
    assert run.evaluate("parquet:train.parquet", workers=2) == run.evaluate("parquet:train.parquet")
    assert "ray" not in sys.modules


def refused(*arguments: str) -> str:
    done = run_here("predict", *arguments, "--workers", "2")
    assert done.exit_code == 2, done.output
    return done.stderr


def test_what_ray_cannot_predict_is_refused_at_once(work: Path) -> None:
    assert "--workers and --address write a file" in refused("small", "new")
    (work / "x.csv").write_text("id,a,b\n1,2,3\n")
    assert "only those are predicted on Ray" in refused("small", "x.csv", "-o", "o.jsonl")
    assert "has no checkpoint of step 7" in refused("small:7", "new", "-o", "o.jsonl")
    assert not list(work.glob("o.jsonl*"))
    assert json.loads((work / "runs/small/status.json").read_text())["state"] == "SUCCEEDED"
