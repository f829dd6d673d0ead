"""The checks of a new job, and its run folder."""

from pathlib import Path

import pytest

from orchestrator import runs
from orchestrator.cli.jobs.dry_run import plan_new_run
from orchestrator.launch.submission import check_new_run
from orchestrator.spec.build import load_spec
from orchestrator.spec.job_spec import JobSpec
from tests.unit.fakes import FakeLauncher, tiny_spec
from workers.errors import DataError, InputError, RunExistsError


@pytest.fixture
def spec(tmp_path: Path) -> JobSpec:
    return tiny_spec(tmp_path)


def test_a_check_writes_nothing_to_the_storage(spec: JobSpec, tmp_path: Path) -> None:
    checked = check_new_run(spec, FakeLauncher())
    assert checked.run_id.startswith("mnist-lstm-")
    assert checked.num_steps == 2 * 5  # 56 rows of 4 shards: 14 each, 3 a step
    plan = plan_new_run(spec, FakeLauncher(), checked.run_id).plan
    assert (plan["train_rows"], plan["validation_rows"], plan["test_rows"]) == (56, 5, 17)
    assert (plan["shards"], plan["rows_per_shard_and_step"], plan["steps"]) == (4, 3, 10)
    assert plan["run_folder"] == str(tmp_path / "runs" / checked.run_id)
    assert not (tmp_path / "runs").exists()


def test_a_number_of_steps_wins_over_epochs(tmp_path: Path) -> None:
    checked = check_new_run(tiny_spec(tmp_path, **{"training.steps": 3}), FakeLauncher())
    assert checked.num_steps == 3


def test_a_run_folder_holds_the_spec_as_checked(spec: JobSpec) -> None:
    checked = check_new_run(spec, FakeLauncher(), "run-1")
    run = checked.create_run()
    stored = load_spec(run.storage.read(run.JOB).decode(), "job.yaml")
    assert stored == checked.spec
    assert runs.read_status(run).state == "QUEUED"
    with pytest.raises(RunExistsError):
        checked.create_run()


def test_relative_paths_become_absolute_for_a_driver_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_spec(tmp_path)
    monkeypatch.chdir(tmp_path)
    relative = tiny_spec(tmp_path, **{"storage": "runs", "dataset.data_dir": "idx"})
    checked = check_new_run(relative, FakeLauncher())
    assert checked.spec.storage == str(tmp_path / "runs")
    assert checked.spec.dataset.data_dir == str(tmp_path / "idx")


@pytest.mark.parametrize(
    ("values", "error", "cause"),
    [
        ({"dataset.data_dir": "nowhere"}, DataError, "does not exist"),
        ({"storage": "nonsense://x"}, InputError, "cannot open nonsense://x"),
        ({"storage": "s3://a:b@c/d"}, InputError, "holds credentials"),
        ({"dataset.memory_budget": "10B"}, InputError, "dataset.memory_budget"),
        ({"dataset.validation_rows": 61}, InputError, "leaves nothing of 61"),
    ],
)
def test_a_job_that_cannot_run_is_refused_and_leaves_nothing(
    tmp_path: Path, values: dict[str, object], error: type[InputError], cause: str
) -> None:
    with pytest.raises(error, match=cause) as caught:
        check_new_run(tiny_spec(tmp_path, **values), FakeLauncher())
    assert caught.value.exit_code == 2 and caught.value.cure
    assert not (tmp_path / "runs").exists()


def test_a_bad_run_id_is_refused_before_the_data_are_prepared(
    spec: JobSpec, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="cannot be a run id"):
        check_new_run(spec, FakeLauncher(), "../up")
    assert not (tmp_path / "cache").exists()


def test_a_storage_that_cannot_be_written_is_an_input_error(spec: JobSpec, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(InputError, match="cannot create") as caught:
        check_new_run(spec, FakeLauncher()).create_run()
    assert caught.value.exit_code == 2
    assert (tmp_path / "runs").read_text() == "a file"


def test_there_is_a_warning_for_more_workers_than_cpus_only_with_ray(tmp_path: Path) -> None:
    many = tiny_spec(tmp_path, **{"scaling.workers": 4, "scaling.cpus_per_worker": 1000})
    assert "4 workers want 4000 CPUs" in check_new_run(many, FakeLauncher(mode="ray")).warnings()[0]
    assert check_new_run(many, FakeLauncher()).warnings() == []


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        ({"env.pip": ["einops"]}, "env.pip is installed for workers on Ray"),
        ({"limits.stall_timeout": "5m"}, "limits.stall_timeout starts workers on Ray again"),
    ],
)
def test_what_means_nothing_without_workers_is_said(
    tmp_path: Path, values: dict[str, object], warning: str
) -> None:
    spec = tiny_spec(tmp_path, **values)
    [told] = check_new_run(spec, FakeLauncher(mode=runs.LOCAL)).warnings()
    assert told.startswith(warning)
    assert not check_new_run(spec, FakeLauncher(mode="ray")).warnings()


def test_the_data_of_a_cluster_job_are_published_beside_the_runs(
    spec: JobSpec, tmp_path: Path
) -> None:
    launcher = FakeLauncher(mode="cluster", address="http://127.0.0.1:1")
    checked = check_new_run(spec, launcher, "run-1")
    run = checked.create_run()
    stored = load_spec(run.storage.read(run.JOB).decode(), "job.yaml")
    assert stored.dataset.data_dir is None
    assert stored.dataset.prepared and stored.dataset.prepared.startswith(
        str(tmp_path / "runs" / ".data")
    )
    again = check_new_run(stored, FakeLauncher(mode="cluster"), "run-2")
    assert again.data.shape == checked.data.shape
    fingerprints = {s.fingerprint(checked.data.shape.fingerprint) for s in (stored, checked.spec)}
    assert len(fingerprints) == 1, "both specs must be the same job"
    assert runs.read_status(run).pid is None, "the job must not depend on this process"
