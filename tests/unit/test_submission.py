"""From a spec to a run folder that a launcher can start."""

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import runs, submission
from orchestrator.job_spec import JobSpec, load_spec
from tests.unit.fakes import tiny_spec
from workers.errors import DataError, InputError, RunExistsError


@pytest.fixture
def spec(tmp_path: Path) -> JobSpec:
    return tiny_spec(tmp_path)


def test_a_check_writes_nothing_to_the_storage(spec: JobSpec, tmp_path: Path) -> None:
    checked = submission.check(spec, "local")
    assert checked.run_id.startswith("mnist-lstm-")
    assert checked.num_steps == 2 * 5  # 56 rows of 4 shards: 14 each, 3 a step
    plan = checked.plan()
    assert (plan["train_rows"], plan["validation_rows"], plan["test_rows"]) == (56, 5, 17)
    assert (plan["shards"], plan["rows_per_shard_and_step"], plan["steps"]) == (4, 3, 10)
    assert plan["run_folder"] == str(tmp_path / "runs" / checked.run_id)
    assert not (tmp_path / "runs").exists()


def test_a_number_of_steps_wins_over_epochs(tmp_path: Path) -> None:
    checked = submission.check(tiny_spec(tmp_path, **{"training.steps": 3}), "local")
    assert checked.num_steps == 3


def test_a_run_folder_holds_the_spec_as_checked(spec: JobSpec) -> None:
    checked = submission.check(spec, "local", "run-1")
    run = checked.create_run()
    stored = load_spec(run.storage.read(run.JOB).decode(), "job.yaml")
    assert stored == checked.spec
    assert runs.read_status(run).state == "QUEUED"
    with pytest.raises(RunExistsError):
        checked.create_run()


def test_relative_paths_are_made_whole_for_a_driver_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_spec(tmp_path)
    monkeypatch.chdir(tmp_path)
    relative = tiny_spec(tmp_path, **{"storage": "runs", "dataset.data_dir": "idx"})
    checked = submission.check(relative, "local")
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
def test_what_cannot_run_is_refused_and_leaves_nothing(
    tmp_path: Path, values: dict[str, object], error: type[InputError], cause: str
) -> None:
    with pytest.raises(error, match=cause) as caught:
        submission.check(tiny_spec(tmp_path, **values), "local")
    assert caught.value.exit_code == 2 and caught.value.cure
    assert not (tmp_path / "runs").exists()


def test_a_bad_run_id_is_refused_before_the_data_are_cut(spec: JobSpec, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be a run id"):
        submission.check(spec, "local", "../up")
    assert not (tmp_path / "cache").exists()


def test_a_storage_that_cannot_be_written_is_a_bad_request(spec: JobSpec, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(InputError, match="cannot create") as caught:
        submission.check(spec, "local").create_run()
    assert caught.value.exit_code == 2
    assert (tmp_path / "runs").read_text() == "a file"


def test_more_workers_than_cpus_are_warned_of_with_ray_only(tmp_path: Path) -> None:
    many = tiny_spec(tmp_path, **{"scaling.workers": 4, "scaling.cpus_per_worker": 1000})
    assert "4 workers want 4000 CPUs" in submission.check(many, "ray").warnings()[0]
    assert submission.check(many, "local").warnings() == []


def test_for_a_cluster_the_data_are_published_beside_the_runs(
    spec: JobSpec, tmp_path: Path
) -> None:
    checked = replace(submission.check(spec, "cluster", "run-1"), address="http://127.0.0.1:1")
    run = checked.create_run()
    stored = load_spec(run.storage.read(run.JOB).decode(), "job.yaml")
    assert stored.dataset.data_dir is None
    assert stored.dataset.prepared and stored.dataset.prepared.startswith(
        str(tmp_path / "runs" / ".data")
    )
    again = submission.check(stored, "cluster", "run-2")
    assert again.data.shape == checked.data.shape
    fingerprints = {s.fingerprint(checked.data.shape.fingerprint) for s in (stored, checked.spec)}
    assert len(fingerprints) == 1, "it is another job now"
    assert runs.read_status(run).pid is None, "it does not die with this process"
