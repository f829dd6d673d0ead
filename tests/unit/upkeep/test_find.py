"""What prune removes, and above all what it leaves."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator import runs
from orchestrator.client import Client
from orchestrator.datasets.cache import cut_once
from orchestrator.driver.environment import RAY_DIR
from orchestrator.runs import RunStatus
from orchestrator.upkeep import temporary_folders
from orchestrator.upkeep.disk import disk_usage
from orchestrator.upkeep.find import find_unneeded
from orchestrator.upkeep.unneeded import Unneeded
from tests.unit.upkeep.made import LONG_AGO, add_checkpoint, ended_run, make_old
from workers.storage.storage import Storage

DAY_S = 86400.0


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "runs"))


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which the private folders of processes are looked for."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(temporary_folders, "short_temp_dir", lambda: str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("RNNJOB_STATE_DIR", str(tmp_path / "state"))
    return folder


Find = Callable[[], dict[str, Unneeded]]


@pytest.fixture
def find(tmp_path: Path, storage: Storage) -> Iterator[Find]:
    """Finds what nothing needs, by its path within the folder of the test."""

    def found() -> dict[str, Unneeded]:
        items = find_unneeded(storage, Client(storage.uri).list_runs(), DAY_S, tmp_path / "cache")
        return {os.path.relpath(item.where, tmp_path): item for item in items}

    yield found


def test_of_an_ended_run_only_the_newest_whole_checkpoint_is_kept(
    storage: Storage, find: Find, tmp_path: Path
) -> None:
    run = ended_run(storage, "r", runs.FAILED)
    for step in (10, 20):
        add_checkpoint(run, step)
    (add_checkpoint(run, 30) / "model.safetensors").write_bytes(b"damaged")
    make_old(tmp_path)
    steps = {f"runs/r/checkpoints/step-{step:08d}" for step in (10, 30)}
    assert set(find()) == steps
    assert all(item.remove() for item in find().values())
    assert run.storage.list("checkpoints") == ["step-00000020"]
    assert not find()


def test_without_a_whole_checkpoint_all_are_kept(
    storage: Storage, find: Find, tmp_path: Path
) -> None:
    run = ended_run(storage, "r", runs.FAILED)
    for step in (10, 20):
        (add_checkpoint(run, step) / "state.json").unlink()
    make_old(tmp_path)
    assert not find()


@pytest.mark.parametrize("state", [runs.RUNNING, runs.RESTARTING, runs.QUEUED])
def test_nothing_of_a_run_that_goes_on_is_touched(
    state: str, storage: Storage, find: Find, tmp_path: Path
) -> None:
    run = ended_run(storage, "r")
    status = RunStatus("r", state, "cluster", address="http://x:1", submitted_at=LONG_AGO)
    runs.write_status(run, status)
    for step in (10, 20):
        add_checkpoint(run, step)
    run.storage.write(".ray-train/x", b"x")
    run.storage.write("logs/driver.log", b"x")
    run.storage.write(".status.json.0123abcd", b"x")
    run.storage.write("data.json", b'{"fingerprint": "abc123"}')
    Storage(str(tmp_path / "cache/prepared/set-0123456789ab")).write(
        "manifest.json", b'{"shape": {"fingerprint": "abc123"}}'
    )
    make_old(tmp_path)
    assert not find()


def test_a_run_whose_process_was_killed_is_cleaned_like_an_ended_one(
    storage: Storage, find: Find, tmp_path: Path
) -> None:
    run = ended_run(storage, "r")
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    here = {**runs.this_process(), "pid": dead.pid}
    runs.write_status(run, RunStatus("r", runs.RUNNING, "local", submitted_at=LONG_AGO, **here))
    run.storage.write(".status.json.0123abcd", b"x")
    make_old(tmp_path)
    (item,) = find().values()
    assert item.where.endswith(".status.json.0123abcd") and item.remove()


def test_a_run_that_was_taken_up_again_meanwhile_keeps_everything(
    storage: Storage, find: Find, tmp_path: Path
) -> None:
    run = ended_run(storage, "r")
    for step in (10, 20):
        add_checkpoint(run, step)
    make_old(tmp_path)
    item = find()["runs/r/checkpoints/step-00000010"]
    status = RunStatus("r", runs.RUNNING, "cluster", address="http://x:1", queued_at=5.0)
    runs.write_status(run, status)
    assert not item.remove()
    assert len(run.storage.list("checkpoints")) == 2


def test_logs_go_with_success_and_leftovers_with_any_end(
    storage: Storage, find: Find, tmp_path: Path
) -> None:
    for run_id, state in (("good", runs.SUCCEEDED), ("bad", runs.FAILED)):
        run = ended_run(storage, run_id, state)
        run.storage.write("logs/driver.log", b"x")
        run.storage.write(".ray-train/x", b"x")
        run.storage.write("tensorboard/.events.0123abcd", b"x")
    make_old(tmp_path)
    leftovers = [
        f"runs/{run_id}/{name}"
        for run_id in ("good", "bad")
        for name in (".ray-train", "tensorboard/.events.0123abcd")
    ]
    assert set(find()) == {"runs/good/logs", *leftovers}
    for item in find().values():
        assert item.remove()
    assert not find()
    assert "status.json" in run.storage.list()


def test_what_was_touched_lately_is_kept(storage: Storage, find: Find, tmp_path: Path) -> None:
    run = ended_run(storage, "r", ended_at=time.time() - 60)
    for step in (10, 20):
        add_checkpoint(run, step)
    run.storage.write("logs/driver.log", b"x")
    make_old(tmp_path)
    assert not find(), "it ended a minute ago"


def test_a_copy_of_data_is_kept_while_a_spec_names_it(
    storage: Storage, find: Find, tmp_path: Path
) -> None:
    for name in ("used-0123456789ab", "unused-0123456789ab", "cut-0123456789ab"):
        storage.child(".data").child(name).write("train", b"12345")
        if not name.startswith("cut"):
            storage.child(".data").child(name).write("manifest.json", b"{}")
    run = ended_run(storage, "r")
    # A spec that is damaged still names it.
    run.storage.write(run.JOB, b"dataset: {prepared: /x/.data/used-0123456789ab, {{{")
    make_old(tmp_path)
    assert {path: item.kind for path, item in find().items()} == {
        "runs/.data/unused-0123456789ab": "data set",
        "runs/.data/cut-0123456789ab": "leftover",
    }
    assert find()["runs/.data/unused-0123456789ab"].num_bytes == 7


def test_a_cut_data_set_of_the_cache_is_kept_while_it_is_used(find: Find, tmp_path: Path) -> None:
    def cut(folder: Path) -> None:
        (folder / "manifest.json").write_text('{"shape": {"fingerprint": "f"}}')

    prepared = tmp_path / "cache" / "prepared"
    for name in ("a-0123456789ab", "b-0123456789ab"):
        cut_once(prepared / name, cut, force=False)
    (prepared / ".a-0123456789ab-00ff00ff").mkdir()
    (prepared / "of-the-user").mkdir()
    (tmp_path / "cache" / ".download-abcd_123").mkdir()
    make_old(tmp_path)
    cut_once(prepared / "b-0123456789ab", cut, force=False)  # a job that uses it
    assert {path: item.kind for path, item in find().items()} == {
        "cache/prepared/a-0123456789ab": "data set",
        "cache/prepared/.a-0123456789ab-00ff00ff": "leftover",
        "cache/.download-abcd_123": "leftover",
    }


def test_private_folders_of_dead_processes_go_and_those_in_use_stay(
    find: Find, temporary: Path, tmp_path: Path
) -> None:
    names = ("rnnjob-deadbeef", "rnnjob-c-deadbeef", "rnnjob-environ1", "rnnjob-working1")
    for name in (*names, "rnnjob-of-the-user", "else"):
        (temporary / name / "ray").mkdir(parents=True)
    (temporary / "rnnjob-alink001").symlink_to(tmp_path)
    make_old(temporary)
    environment = {**os.environ, RAY_DIR: str(temporary / "rnnjob-environ1")}
    program = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with (
        subprocess.Popen(program, stdin=subprocess.PIPE, env=environment) as one,
        subprocess.Popen(
            program, stdin=subprocess.PIPE, cwd=temporary / "rnnjob-working1" / "ray"
        ) as other,
    ):
        try:
            assert set(find()) == {"tmp/rnnjob-deadbeef", "tmp/rnnjob-c-deadbeef"}
        finally:
            for process in (one, other):
                process.communicate()
    for item in find().values():
        item.remove()
    assert sorted(os.listdir(temporary)) == ["else", "rnnjob-alink001", "rnnjob-of-the-user"]  # noqa: PTH208


def test_what_killed_commands_left_beside_the_runs_goes(
    storage: Storage, find: Find, tmp_path: Path
) -> None:
    storage.child(".parts").child("aa").write("request.json", b"{}")
    storage.child("p.jsonl.partial").write(
        "request.json", b'{"kind": "predict", "weights_sha256": "x"}'
    )
    storage.child("mine.partial").write("request.json", b'{"kind": "other"}')
    storage.child(".rnnjob-doctor-0123abcd").write("x", b"x")
    make_old(tmp_path)
    names = (".parts/aa", "p.jsonl.partial", ".rnnjob-doctor-0123abcd")
    assert set(find()) == {f"runs/{name}" for name in names}


def test_the_bytes_of_a_storage_are_those_of_its_files(storage: Storage) -> None:
    run = ended_run(storage, "r")
    run.storage.write("logs/a", b"x" * 1000)
    storage.child(".data").child("x").write("y", b"12345")
    storage.child(".code").child("x").write("y", b"123")
    usage = disk_usage(storage, ["r"])
    assert (usage.data, usage.code, usage.parts) == (5, 3, 0)
    assert usage.runs == {"r": run.storage.usage()[1]}
    assert usage.total == usage.runs["r"] + 8
