"""What `why` knows of the other runs on a cluster."""

import json
from pathlib import Path

import pytest

from orchestrator.observe import facts
from orchestrator.spec.build import build_spec
from workers.records.run_folder import RunFolder


@pytest.mark.parametrize(
    ("asked", "starts", "cpus"),
    [
        ("auto", [3, 2], 2.0),  # a node was lost in between
        ("auto", [], 1.0),  # it has not started
        (4, [4], 4.0),
    ],
)
def test_a_run_holds_the_cpus_that_its_workers_had_last(
    tmp_path: Path, asked: int | str, starts: list[int], cpus: float
) -> None:
    run = RunFolder.at(str(tmp_path / "run"))
    (tmp_path / "run").mkdir()
    spec = build_spec(assignments=[f"scaling.cpus_per_worker={asked}"])
    run.storage.write(run.JOB, spec.to_yaml().encode())
    whole = {"kind": "start", "step": 0, "attempt": 1, "workers": 2, "time": 1.0}
    whole |= {"repeated_steps": 0, "idle_s": 0.0}
    records = [{**whole, "cpus_per_worker": number} for number in starts]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    run.storage.write(run.METRICS, lines.encode())
    assert facts._cpus_of_worker(run) == cpus
