"""A run that ended is taken up again."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import resumption, runs, submission
from orchestrator.job_spec import JobSpec, load_spec
from orchestrator.plan import make_plan
from orchestrator.runs import RunStatus
from orchestrator.spec_tree import SpecError
from orchestrator.starting import start
from tests.unit.fakes import FakeLauncher, tiny_spec
from tests.unit.whole_records import step
from workers.errors import ClusterError, InputError
from workers.run_folder import DRIVER, WORKER, RunFolder, StopRequest
from workers.storage import Storage


@pytest.fixture
def spec(tmp_path: Path) -> JobSpec:
    return tiny_spec(tmp_path)


def stored(run: RunFolder) -> JobSpec:
    return load_spec(run.storage.read(run.JOB).decode(), "job.yaml")


def ended(run: RunFolder, state: str = "STOPPED") -> RunStatus:
    status = replace(
        runs.read_status(run), state=state, reason="old", cure="old", exit_code=5, ended_at=9.0
    )
    return runs.write_status(run, status)


@pytest.mark.parametrize("state", ["STOPPED", "FAILED"])
def test_a_run_that_ended_early_is_made_ready_to_go_on(spec: JobSpec, state: str) -> None:
    run = submission.check(spec, "ray", "run-1").create_run()
    run.ask_to_stop(StopRequest("old"))
    run.write_json(run.RESULT, {"state": state})
    before = ended(run, state)
    resumed = resumption.check_again(run, "local", {})
    resumed.create_run()
    assert resumed.run_id == "run-1" and resumed.mode == "local"
    assert run.stop_request() is None
    assert run.read_json(run.RESULT), "it is forgotten only as the run begins"
    status = runs.read_status(run)
    assert (status.state, status.mode, status.reason, status.cure) == ("QUEUED", "local", "", "")
    assert (status.exit_code, status.ended_at) == (None, None)
    assert status.submitted_at == before.submitted_at


def test_a_run_goes_on_with_another_scaling_and_is_the_same_job(spec: JobSpec) -> None:
    checked = submission.check(spec, "ray", "run-1")
    run = checked.create_run()
    ended(run)
    resumed = resumption.check_again(run, "ray", {"scaling.workers": 2})
    resumed.create_run()
    there = stored(run)
    assert there.scaling.workers == resumed.spec.scaling.workers == 2
    data = checked.data.shape.fingerprint
    assert there.fingerprint(data) == checked.spec.fingerprint(data)


@pytest.mark.parametrize(("done", "limit"), [(2, 3), (3, None)])
def test_a_limit_of_steps_is_lifted_once_it_was_reached(
    tmp_path: Path, done: int, limit: int | None
) -> None:
    run = submission.check(tiny_spec(tmp_path, **{"limits.steps": 3}), "local", "r").create_run()
    run.storage.write(run.METRICS, json.dumps(step(done)).encode() + b"\n")
    ended(run)
    resumed = resumption.check_again(run, "local", {})
    resumed.create_run()
    assert resumed.spec.limits.steps == limit
    assert stored(run).limits.steps == limit


@pytest.mark.parametrize(
    ("state", "cause", "cure"),
    [
        ("SUCCEEDED", "run-1 has SUCCEEDED", "rnnjob show run-1"),
        ("RUNNING", "run-1 is RUNNING", "rnnjob stop run-1"),
        ("RUNNING", "run-1 is RUNNING", "rnnjob stop run-1 --force"),
        ("SUCCEEDED", "nothing to resume", "rnnjob resume run-1 --set training.epochs=N"),
        ("QUEUED", "run-1 is QUEUED", "rnnjob stop run-1"),
    ],
)
def test_a_run_with_nothing_to_go_on_with_is_refused_and_left_as_it_is(
    spec: JobSpec, state: str, cause: str, cure: str
) -> None:
    run = submission.check(spec, "local", "run-1").create_run()
    before = runs.write_status(run, replace(runs.read_status(run), state=state))
    with pytest.raises(InputError) as caught:
        resumption.check_again(run, "local", {})
    assert cause in caught.value.cause and cure in caught.value.cure
    assert runs.read_status(run) == before


def test_a_scaling_that_does_not_fit_leaves_the_run_as_it_is(spec: JobSpec) -> None:
    run = submission.check(spec, "ray", "run-1").create_run()
    before = ended(run)
    with pytest.raises(InputError, match="workers 5"):
        resumption.check_again(run, "ray", {"scaling.workers": 5})
    assert runs.read_status(run) == before
    assert Storage(spec.storage).list() == ["run-1"]


@pytest.mark.parametrize(
    ("values", "keys"),
    [
        ({"training.optimizer.lr": 0.5}, "training.optimizer.lr"),
        ({"dataset.num_shards": 6, "model.cell": "gru"}, "dataset.num_shards, model.cell"),
        ({"training.epochs": 1}, "training.epochs"),
        ({"training.epochs": 3, "training.seed": 1}, "training.seed"),
        ({"training.steps": 20}, "training.steps"),
        ({"training.earlier_ends": [3]}, "training.earlier_ends"),
    ],
)
def test_what_would_change_the_result_is_refused_by_name(
    spec: JobSpec, values: dict[str, object], keys: str
) -> None:
    run = submission.check(spec, "local", "run-1").create_run()
    before = ended(run)
    with pytest.raises(InputError) as caught:
        resumption.check_again(run, "local", values)
    assert caught.value.cause == f"{keys} would change the result of run-1"
    assert "rnnjob submit -c" in caught.value.cure
    assert (runs.read_status(run), stored(run)) == (before, spec)


def test_an_unknown_key_is_refused_as_at_submission(spec: JobSpec) -> None:
    run = submission.check(spec, "local", "run-1").create_run()
    ended(run)
    with pytest.raises(SpecError, match=r"unknown key 'limits\.tme'"):
        resumption.check_again(run, "local", {"limits.tme": "1h"})


def test_a_longer_run_lays_its_schedule_out_anew_from_its_end(spec: JobSpec) -> None:
    run = submission.check(spec, "local", "run-1").create_run()
    for epochs, ends in [(3, (10,)), (5, (10, 15))]:
        ended(run, "SUCCEEDED")
        resumption.check_again(run, "local", {"training.epochs": epochs}).create_run()
        assert stored(run).training.epochs == epochs
        assert stored(run).training.earlier_ends == ends


def test_a_longer_run_goes_on_from_checkpoints_of_the_shorter_and_from_no_other(
    tmp_path: Path,
) -> None:
    for schedule in ("one-cycle", "constant"):
        spec = tiny_spec(tmp_path, **{"training.schedule": schedule})
        run = submission.check(spec, "local", schedule).create_run()
        short = make_plan(run, spec, 1, lambda _: "fp32").job
        ended(run, "SUCCEEDED")
        resumption.check_again(run, "local", {"training.epochs": 3}).create_run()
        long = make_plan(run, stored(run), 1, lambda _: "fp32").job
        from_start = make_plan(
            run, spec.with_values({"training.epochs": 3}), 1, lambda _: "fp32"
        ).job
        assert long.checkpoint_fingerprint(10) == short.checkpoint_fingerprint(10)
        is_same = from_start.checkpoint_fingerprint(10) == short.checkpoint_fingerprint(10)
        assert is_same == (schedule == "constant"), "one that is not extended has another rate"
        assert long.fingerprint != short.fingerprint


def test_failures_count_anew_after_a_resume(spec: JobSpec) -> None:
    run = submission.check(spec, "local", "run-1").create_run()
    run.note_failure("worker 1 failed", WORKER)
    run.note_failure("killed", DRIVER)
    assert run.num_failures() == 2
    ended(run, "FAILED")
    resumption.check_again(run, "local", {}).create_run()
    assert run.num_failures() == 0
    run.note_failure("worker 1 failed", WORKER)
    assert run.num_failures() == 1
    assert [entry["kind"] for entry in run.failures()] == ["worker", "driver", "resume", "worker"]


def test_each_resume_is_another_job_of_ray_jobs(spec: JobSpec) -> None:
    run = submission.check(spec, "local", "run-1").create_run()
    for number in (1, 2):
        ended(run)
        again = resumption.check_again(run, "cluster", {})
        assert again.job_id == f"run-1.{number}"
        there = replace(again, address="http://head:8265")
        there.create_run()
        status = runs.read_status(run)
        assert (status.job_id, status.address) == (again.job_id, "http://head:8265")
        assert (status.mode, status.pid, status.state) == ("cluster", None, "QUEUED")
        assert stored(run).dataset.prepared, "the cluster needs the data, too"


def test_a_run_of_so_many_steps_is_not_extended_by_epochs(tmp_path: Path) -> None:
    run = submission.check(tiny_spec(tmp_path, **{"training.steps": 3}), "local", "r").create_run()
    ended(run, "SUCCEEDED")
    with pytest.raises(InputError, match="was to end after 3 steps") as caught:
        resumption.check_again(run, "local", {"training.epochs": 9})
    assert "rnnjob submit -c" in caught.value.cure and "training.steps=N" in caught.value.cure


def test_a_resume_that_cannot_be_started_leaves_the_run_as_it_had_ended(spec: JobSpec) -> None:
    run = submission.check(spec, "local", "run-1").create_run()
    run.write_json(run.RESULT, {"state": "SUCCEEDED"})
    before = ended(run, "SUCCEEDED")

    def refuse(_: RunFolder) -> None:
        raise ClusterError("no room for the upload")

    launcher = FakeLauncher(leaves_on_interrupt=True)
    launcher.submit = refuse  # type: ignore[method-assign]
    again = resumption.check_again(run, "local", {"training.epochs": 5})
    again.create_run()
    with pytest.raises(ClusterError):
        start(run, launcher, again)
    assert (runs.read_status(run), stored(run)) == (before, spec)
    assert run.read_json(run.RESULT) == {"state": "SUCCEEDED"}
    assert resumption.check_again(run, "local", {"training.epochs": 5})
