"""rnnjob scaling: the runs that it makes, and what it refuses before anything runs."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from orchestrator.cli import main
from orchestrator.cli.jobs.scaling_runs import (
    check_same_weights,
    measured,
    specs_for,
    uneven,
    worker_numbers,
)
from orchestrator.runs.hardware import num_usable_cpus
from orchestrator.runs.scaling import Curve, Point
from orchestrator.spec.job_spec import JobSpec
from tests.unit.fakes import tiny_spec
from tests.unit.runs import whole_records
from workers.errors import InputError, ReplicaError
from workers.records.run_folder import RunFolder

_SECONDS = {"data_s": 0.1, "compute_s": 0.5, "exchange_s": 0.2}


@pytest.fixture
def spec(tmp_path: Path) -> JobSpec:
    return tiny_spec(tmp_path, **{"limits.steps": 3, "training.epochs": 7})


@pytest.fixture
def scaling(
    tmp_path: Path, spec: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Run the command with a spec of four shards."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.yaml").write_text(spec.to_yaml())

    def run(*flags: str) -> Result:
        return CliRunner().invoke(main, ["scaling", "-c", "job.yaml", *flags])

    return run


def test_the_runs_differ_in_nothing_but_their_workers(spec: JobSpec) -> None:
    specs = specs_for(spec, [1, 2, 4], 30, "x", is_here=True)
    assert list(specs) == ["x-workers1", "x-workers2", "x-workers4"]
    assert [each.scaling.workers for each in specs.values()] == [1, 2, 4]
    assert len({each.with_values({"scaling.workers": 1}).to_yaml() for each in specs.values()}) == 1
    each = specs["x-workers4"]
    assert (each.training.steps, each.limits.steps) == (30, None)
    assert each.scaling.cpus_per_worker == max(1, num_usable_cpus() // 4)


def test_on_a_cluster_a_worker_has_one_cpu_unless_the_user_says_more(spec: JobSpec) -> None:
    """`auto` would give more of them to fewer workers, so that the curve would say little."""
    on_cluster = specs_for(spec, [1, 2], 30, None, is_here=False)
    assert {each.scaling.cpus_per_worker for each in on_cluster.values()} == {1}
    wanted = spec.with_values({"scaling.cpus_per_worker": 3})
    here = specs_for(wanted, [1, 2], 30, None, is_here=True)
    assert {each.scaling.cpus_per_worker for each in here.values()} == {3}


def test_numbers_are_sorted_and_taken_once() -> None:
    assert worker_numbers("4, 1,2,1") == [1, 2, 4]


@pytest.mark.parametrize("text", ["", "1,", "0,1", "1:4", "two", "-1", "1.5"])
def test_what_is_no_list_of_numbers_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no list of numbers"):
        worker_numbers(text)


def test_workers_with_unequal_shards_are_named_with_what_that_costs() -> None:
    assert list(uneven(8, [1, 2, 4, 8])) == []
    (line,) = uneven(8, [1, 3])
    assert "no multiple of 3 workers: one hosts 3" in line and "at most 2.67 times" in line


@pytest.mark.parametrize(
    ("flags", "cause", "cure"),
    [
        (["--workers", "1,8"], "workers 8 is above num_shards 4", "num_shards=12"),
        (["--workers", "1;2"], "--workers 1;2 is no list", "write for example 1,2,4"),
        (["--workers", "1,2", "-o", "job.yaml"], "job.yaml exists", "--force"),
        (["--workers", "1,2", "-o", "no/page.html"], "the folder no does not exist", "-o"),
        (["--workers", "1,2", "--run-id", "taken"], "taken-workers2' is already in", "--run-id"),
        (["--workers", "1,2", "--include", "x"], "--include applies only", "--address"),
        ([], "Missing option '--workers'", "--help"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_runs(
    scaling: Callable[..., Result], tmp_path: Path, flags: list[str], cause: str, cure: str
) -> None:
    (tmp_path / "runs" / "taken-workers2").mkdir(parents=True)
    done = scaling(*flags)
    assert done.exit_code == 2
    assert cause in done.stderr and cure in done.stderr
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["taken-workers2"]


def test_different_weights_are_an_error_unless_the_gradients_are_fused(spec: JobSpec) -> None:
    seconds = {"data": 0.0, "compute": 1.0, "exchange": 0.0, "other": 0.0}
    points = [
        Point(n, f"r-workers{n}", 1, 1, seconds, weights) for n, weights in ((1, "a"), (2, "b"))
    ]
    with pytest.raises(ReplicaError, match="1 and 2 worker") as raised:
        check_same_weights(Curve(points, 4), spec)
    assert raised.value.cure.endswith("rnnjob compare r-workers1 r-workers2")
    check_same_weights(Curve(points, 4), spec.with_values({"training.gradients": "fused"}))
    check_same_weights(Curve(points[:1], 4), spec)


def test_a_run_without_a_step_to_count_is_warned_of_and_costs_no_other(
    tmp_path: Path, spec: JobSpec
) -> None:
    jobs, ended = [], []
    for number, steps in ((1, 3), (2, 1)):
        folder = tmp_path / f"x-workers{number}"
        folder.mkdir()
        records = [
            whole_records.step(n, time=float(n), seconds=_SECONDS) for n in range(1, steps + 1)
        ]
        text = "".join(json.dumps(record) + "\n" for record in records)
        (folder / "metrics.jsonl").write_text(text)
        run = RunFolder.at(str(folder))
        jobs.append(
            SimpleNamespace(
                run=run, run_id=run.run_id, spec=spec.with_values({"scaling.workers": number})
            )
        )
        ended.append(SimpleNamespace(run_id=run.run_id, state="SUCCEEDED"))
    warned: list[str] = []
    curve = measured(jobs, ended, 2, warned.append)
    assert [point.workers for point in curve.points] == [1]
    (warning,) = warned
    assert warning.startswith("2 worker(s) are left out: ") and "--steps" in warning


def test_machines_that_may_differ_may_come_to_different_weights(spec: JobSpec) -> None:
    seconds = {"data": 0.1, "compute": 0.1, "exchange": 0.1, "other": 0.1}
    points = [Point(number, "x", 1, 1, seconds, str(number)) for number in (1, 2)]
    curve = Curve(points, 8)
    with pytest.raises(ReplicaError):
        check_same_weights(curve, spec)
    check_same_weights(curve, spec.with_values({"limits.mixed_hardware": "allow"}))
