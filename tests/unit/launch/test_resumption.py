"""A run that has ended is resumed."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import runs
from orchestrator.launch.resumption import check_resumption
from orchestrator.launch.submission import check_new_run
from orchestrator.runs import RunStatus
from orchestrator.spec.build import load_spec
from orchestrator.spec.job_spec import JobSpec
from orchestrator.spec.plan import make_plan
from orchestrator.spec.tree import SpecError
from tests.unit.fakes import FakeLauncher, tiny_spec
from tests.unit.runs.whole_records import step
from workers.errors import ClusterError, InputError, RunHeldError
from workers.records.run_folder import DRIVER, WORKER, RunFolder, StopRequest
from workers.storage.storage import Storage


@pytest.fixture
def spec(tmp_path: Path) -> JobSpec:
    return tiny_spec(tmp_path)


def read_spec(run: RunFolder) -> JobSpec:
    return load_spec(run.storage.read(run.JOB).decode(), "job.yaml")


def set_ended(run: RunFolder, state: str = "STOPPED") -> RunStatus:
    status = replace(
        runs.read_status(run), state=state, reason="old", cure="old", exit_code=5, ended_at=9.0
    )
    return runs.write_status(run, status)


@pytest.mark.parametrize("state", ["STOPPED", "FAILED"])
def test_a_run_that_ended_early_is_queued_again(spec: JobSpec, state: str) -> None:
    run = check_new_run(spec, FakeLauncher(mode="ray"), "run-1").create_run()
    run.ask_to_stop(StopRequest("old"))
    run.write_json(run.RESULT, {"state": state})
    before = set_ended(run, state)
    resumed = check_resumption(run, runs.read_status(run), FakeLauncher(), {})
    resumed.create_run()
    assert resumed.run_id == "run-1" and resumed.launcher.mode == "local"
    assert run.stop_request() is None
    assert run.read_json(run.RESULT), "the result is removed only when the run begins"
    status = runs.read_status(run)
    assert (status.state, status.mode, status.reason, status.cure) == ("QUEUED", "local", "", "")
    assert (status.exit_code, status.ended_at) == (None, None)
    assert status.submitted_at == before.submitted_at


def test_a_run_resumed_with_another_scaling_is_the_same_job(spec: JobSpec) -> None:
    checked = check_new_run(spec, FakeLauncher(mode="ray"), "run-1")
    run = checked.create_run()
    set_ended(run)
    resumed = check_resumption(
        run, runs.read_status(run), FakeLauncher(mode="ray"), {"scaling.workers": 2}
    )
    resumed.create_run()
    stored = read_spec(run)
    assert stored.scaling.workers == resumed.spec.scaling.workers == 2
    data = checked.data.shape.fingerprint
    assert stored.fingerprint(data) == checked.spec.fingerprint(data)


@pytest.mark.parametrize(("done", "limit"), [(2, 3), (3, None)])
def test_a_limit_of_steps_is_removed_once_it_was_reached(
    tmp_path: Path, done: int, limit: int | None
) -> None:
    run = check_new_run(
        tiny_spec(tmp_path, **{"limits.steps": 3}), FakeLauncher(), "r"
    ).create_run()
    run.storage.write(run.METRICS, json.dumps(step(done)).encode() + b"\n")
    set_ended(run)
    resumed = check_resumption(run, runs.read_status(run), FakeLauncher(), {})
    resumed.create_run()
    assert resumed.spec.limits.steps == limit
    assert read_spec(run).limits.steps == limit


@pytest.mark.parametrize(
    ("state", "cause", "cure"),
    [
        ("SUCCEEDED", "run-1 has SUCCEEDED", "rnnjob show run-1"),
        ("RUNNING", "run-1 is RUNNING", "rnnjob stop run-1"),
        ("UNREACHABLE", "run-1 is UNREACHABLE: who knows", "look there"),
        ("SUCCEEDED", "nothing to resume", "rnnjob resume run-1 --set training.epochs=N"),
        ("QUEUED", "run-1 is QUEUED", "rnnjob stop run-1"),
    ],
)
def test_a_run_that_cannot_be_resumed_is_refused_and_left_as_it_is(
    spec: JobSpec, state: str, cause: str, cure: str
) -> None:
    run = check_new_run(spec, FakeLauncher(), "run-1").create_run()
    before = runs.read_status(run)
    told = replace(before, state=state, reason="who knows", cure="look there")
    with pytest.raises(InputError) as caught:
        check_resumption(run, told, FakeLauncher(), {})
    assert cause in caught.value.cause and cure in caught.value.cure
    assert runs.read_status(run) == before


def test_a_scaling_that_does_not_fit_leaves_the_run_as_it_is(spec: JobSpec) -> None:
    run = check_new_run(spec, FakeLauncher(mode="ray"), "run-1").create_run()
    before = set_ended(run)
    with pytest.raises(InputError, match="workers 5"):
        check_resumption(
            run, runs.read_status(run), FakeLauncher(mode="ray"), {"scaling.workers": 5}
        )
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
def test_keys_that_would_change_the_result_are_refused_by_name(
    spec: JobSpec, values: dict[str, object], keys: str
) -> None:
    run = check_new_run(spec, FakeLauncher(), "run-1").create_run()
    before = set_ended(run)
    with pytest.raises(InputError) as caught:
        check_resumption(run, runs.read_status(run), FakeLauncher(), values)
    assert caught.value.cause == f"{keys} would change the result of run-1"
    assert "rnnjob submit -c" in caught.value.cure
    assert (runs.read_status(run), read_spec(run)) == (before, spec)


def test_a_resume_stays_in_its_storage(spec: JobSpec, tmp_path: Path) -> None:
    """Elsewhere there is no checkpoint: it would begin anew under the same id."""
    run = check_new_run(spec, FakeLauncher(), "run-1").create_run()
    before = set_ended(run)
    with pytest.raises(InputError, match="cannot be moved to another storage"):
        check_resumption(
            run, runs.read_status(run), FakeLauncher(), {"storage": str(tmp_path / "other")}
        )
    assert runs.read_status(run) == before and not (tmp_path / "other").exists()


def test_an_unknown_key_is_refused_as_at_submission(spec: JobSpec) -> None:
    run = check_new_run(spec, FakeLauncher(), "run-1").create_run()
    set_ended(run)
    with pytest.raises(SpecError, match=r"unknown key 'limits\.tme'"):
        check_resumption(run, runs.read_status(run), FakeLauncher(), {"limits.tme": "1h"})


def test_a_longer_run_plans_its_schedule_again_from_its_earlier_end(spec: JobSpec) -> None:
    run = check_new_run(spec, FakeLauncher(), "run-1").create_run()
    for epochs, ends in [(3, (10,)), (5, (10, 15))]:
        set_ended(run, "SUCCEEDED")
        check_resumption(
            run, runs.read_status(run), FakeLauncher(), {"training.epochs": epochs}
        ).start()
        assert read_spec(run).training.epochs == epochs
        assert read_spec(run).training.earlier_ends == ends


def test_a_longer_run_accepts_the_checkpoints_of_the_shorter_run_and_no_others(
    tmp_path: Path,
) -> None:
    for schedule in ("one-cycle", "constant"):
        spec = tiny_spec(tmp_path, **{"training.schedule": schedule})
        run = check_new_run(spec, FakeLauncher(), schedule).create_run()
        short = make_plan(run, spec, 1, lambda _: "fp32").job
        set_ended(run, "SUCCEEDED")
        check_resumption(
            run, runs.read_status(run), FakeLauncher(), {"training.epochs": 3}
        ).create_run()
        long = make_plan(run, read_spec(run), 1, lambda _: "fp32").job
        from_start = make_plan(
            run, spec.with_values({"training.epochs": 3}), 1, lambda _: "fp32"
        ).job
        assert long.checkpoint_fingerprint(10) == short.checkpoint_fingerprint(10)
        is_same = from_start.checkpoint_fingerprint(10) == short.checkpoint_fingerprint(10)
        assert is_same == (schedule == "constant"), (
            "a run that was not extended has another learning rate"
        )
        assert long.fingerprint != short.fingerprint


def test_failures_are_counted_from_zero_after_a_resume(spec: JobSpec) -> None:
    run = check_new_run(spec, FakeLauncher(), "run-1").create_run()
    run.note_failure("worker 1 failed", WORKER)
    run.note_failure("killed", DRIVER)
    assert run.num_failures() == 2
    set_ended(run, "FAILED")
    check_resumption(run, runs.read_status(run), FakeLauncher(), {}).create_run()
    assert run.num_failures() == 0
    run.note_failure("worker 1 failed", WORKER)
    assert run.num_failures() == 1
    assert [entry["kind"] for entry in run.failures()] == ["worker", "driver", "resume", "worker"]


def test_of_two_resumes_that_were_checked_the_second_is_refused(spec: JobSpec) -> None:
    run = check_new_run(spec, FakeLauncher(), "run-1").create_run()
    set_ended(run)
    first, second = (
        check_resumption(run, runs.read_status(run), FakeLauncher(mode=mode), {})
        for mode in ("ray", "local")
    )
    first.start()
    files = {name: run.storage.read(name) for name in (run.JOB, run.STATUS, run.FAILURES)}
    with pytest.raises(RunHeldError, match=f"run-1 is held by process {os.getpid()} on .* since "):
        second.start()
    assert {name: run.storage.read(name) for name in files} == files


def test_a_resume_that_cannot_be_started_holds_the_run_no_more(spec: JobSpec) -> None:
    class Refusing(FakeLauncher):
        def submit(self, run: RunFolder) -> None:
            raise ClusterError("it is full", "wait")

    run = check_new_run(spec, FakeLauncher(), "run-1").create_run()
    before = set_ended(run)
    with pytest.raises(ClusterError):
        check_resumption(run, runs.read_status(run), Refusing(), {}).start()
    assert runs.read_status(run) == before
    check_resumption(run, runs.read_status(run), FakeLauncher(), {}).start()
    assert runs.read_status(run).state == "QUEUED"


def test_each_resume_has_its_own_job_id(spec: JobSpec) -> None:
    run = check_new_run(spec, FakeLauncher(), "run-1").create_run()
    for number in (1, 2):
        set_ended(run)
        launcher = FakeLauncher(mode="cluster", address="http://head:8265")
        again = check_resumption(run, runs.read_status(run), launcher, {})
        assert again.job_id == f"run-1.{number}"
        assert launcher.checked_job_ids[-1] == again.job_id, "a plan shows what is sent"
        again.start()
        status = runs.read_status(run)
        assert (status.job_id, status.address) == (again.job_id, "http://head:8265")
        assert (status.mode, status.pid, status.state) == ("cluster", None, "QUEUED")
        assert read_spec(run).dataset.prepared, "the cluster needs the prepared data"


def test_a_run_with_a_fixed_number_of_steps_is_not_extended_by_epochs(tmp_path: Path) -> None:
    run = check_new_run(
        tiny_spec(tmp_path, **{"training.steps": 3}), FakeLauncher(), "r"
    ).create_run()
    set_ended(run, "SUCCEEDED")
    with pytest.raises(InputError, match="was to end after 3 steps") as caught:
        check_resumption(run, runs.read_status(run), FakeLauncher(), {"training.epochs": 9})
    assert "rnnjob submit -c" in caught.value.cure and "training.steps=N" in caught.value.cure


def test_a_resume_that_cannot_be_started_leaves_the_run_as_it_had_ended(spec: JobSpec) -> None:
    run = check_new_run(spec, FakeLauncher(), "run-1").create_run()
    run.write_json(run.RESULT, {"state": "SUCCEEDED"})
    before = set_ended(run, "SUCCEEDED")

    def refuse(_: RunFolder) -> None:
        raise ClusterError("no room for the upload")

    launcher = FakeLauncher(leaves_on_interrupt=True)
    launcher.submit = refuse  # type: ignore[method-assign]
    again = check_resumption(run, runs.read_status(run), launcher, {"training.epochs": 5})
    with pytest.raises(ClusterError):
        again.start()
    assert (runs.read_status(run), read_spec(run)) == (before, spec)
    assert run.read_json(run.RESULT) == {"state": "SUCCEEDED"}
    assert check_resumption(run, runs.read_status(run), FakeLauncher(), {"training.epochs": 5})
