"""Runs in a storage: create, find and list them, and read their state."""

import re
from pathlib import Path

import pytest

from orchestrator import runs
from orchestrator.runs import RunStatus
from workers.errors import InputError, NoSuchRunError, RunExistsError, StorageError
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "runs"))


def add(storage: Storage, run_id: str, submitted_at: float = 1.0, state: str = "SUCCEEDED") -> None:
    run = runs.create_run(storage, run_id, "name: x\n", "local")
    runs.write_status(run, RunStatus(run_id, state, "local", submitted_at=submitted_at))


def test_an_id_is_made_of_name_time_and_four_hex_digits() -> None:
    one, other = runs.new_run_id("mnist"), runs.new_run_id("mnist")
    assert re.fullmatch(r"mnist-\d{8}-\d{6}-[0-9a-f]{4}", one)
    assert one[:-5][:15] == other[:-5][:15]
    runs.check_run_id(one)


@pytest.mark.parametrize(
    "run_id", ["a/b", "../x", "..", ".hidden", "", "-x", "a b", "a\n", "a\\b", "@last", "x" * 129]
)
def test_an_id_that_could_leave_the_storage_is_refused(storage: Storage, run_id: str) -> None:
    with pytest.raises(InputError) as caught:
        runs.create_run(storage, run_id, "", "local")
    assert caught.value.cause == f"'{run_id}' cannot be a run id"
    assert "letters, digits, '.', '_' and '-'" in caught.value.cure
    assert storage.list() == []
    with pytest.raises(NoSuchRunError):
        runs.find_run(storage, run_id)


@pytest.mark.parametrize("run_id", ["a", "A.b_c-9", "9", "x" * 128])
def test_a_valid_id_makes_a_new_run_that_is_queued(storage: Storage, run_id: str) -> None:
    run = runs.create_run(storage, run_id, "name: x\n", "ray")
    status = runs.read_status(run)
    assert (status.run_id, status.state, status.mode) == (run_id, "QUEUED", "ray")
    assert run.storage.read("job.yaml") == b"name: x\n"
    assert sorted(run.storage.list()) == ["job.yaml", "status.json"]


def test_an_id_that_exists_is_refused_and_the_run_is_left_as_it_is(storage: Storage) -> None:
    add(storage, "a", state="RUNNING")
    with pytest.raises(RunExistsError) as caught:
        runs.create_run(storage, "a", "name: other\n", "local")
    assert caught.value.cause == f"the run 'a' is already in {storage.where()}"
    assert caught.value.cure == "choose another --run-id, or leave it out to have one made"
    assert storage.child("a").read("job.yaml") == b"name: x\n"


def test_a_storage_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot create"):
        runs.create_run(Storage(str(tmp_path / "file")), "a", "", "local")


def test_runs_are_listed_newest_first(storage: Storage) -> None:
    for run_id, when in [("b", 2.0), ("a", 3.0), ("c", 1.0)]:
        add(storage, run_id, when)
    assert [status.run_id for status in runs.list_runs(storage)] == ["a", "b", "c"]
    assert runs.list_runs(storage.child("none")) == []


def test_folders_that_are_not_runs_are_ignored(storage: Storage) -> None:
    add(storage, "a")
    storage.write("no-run/file", b"")
    storage.write("torn/status.json", b'{"state": "RUN')
    assert [status.run_id for status in runs.list_runs(storage)] == ["a"]


def test_a_plain_file_in_the_storage_is_ignored(storage: Storage) -> None:
    add(storage, "a")
    storage.write("notes.txt", b"mine")
    assert [status.run_id for status in runs.list_runs(storage)] == ["a"]
    with pytest.raises(NoSuchRunError):
        runs.find_run(storage, "notes.txt")


def test_a_run_is_found_by_id_by_a_unique_prefix_and_as_the_last(storage: Storage) -> None:
    for run_id, when in [("mnist-1", 1.0), ("mnist-12", 3.0), ("other", 2.0)]:
        add(storage, run_id, when)
    found = {name: runs.find_run(storage, name).run_id for name in ("mnist-1", "o", "@last")}
    assert found == {"mnist-1": "mnist-1", "o": "other", "@last": "mnist-12"}


def test_a_prefix_of_several_runs_is_refused_with_their_ids(storage: Storage) -> None:
    add(storage, "mnist-1", 1.0)
    add(storage, "mnist-2", 2.0)
    with pytest.raises(NoSuchRunError) as caught:
        runs.find_run(storage, "mnist")
    assert caught.value.cause == "'mnist' fits 2 runs: mnist-2, mnist-1"
    assert caught.value.cure == "give more of the id"


def test_a_missing_run_is_reported_with_the_storage_that_was_searched(storage: Storage) -> None:
    for name, cause in [("@last", "no run in "), ("x", "no run 'x' in ")]:
        with pytest.raises(NoSuchRunError) as caught:
            runs.find_run(storage, name)
        assert caught.value.cause == cause + storage.where()
        assert caught.value.exit_code == 4
        assert "--storage" in caught.value.cure


def test_keys_from_a_later_version_are_ignored(storage: Storage) -> None:
    storage.write("a/status.json", b'{"state": "RUNNING", "of_the_future": 1}')
    status = runs.read_status(RunFolder(storage.child("a")))
    assert (status.run_id, status.state) == ("a", "RUNNING")
