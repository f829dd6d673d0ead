"""rnnjob list --disk, delete of several runs, and prune."""

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator import runs
from orchestrator.cli import main
from orchestrator.runs import RunStatus
from orchestrator.upkeep import temporary_folders
from tests.unit.upkeep.made import LONG_AGO, add_checkpoint, ended_run, make_old
from workers.storage.storage import Storage


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """Two runs that failed, an old and a new one; an old one that succeeded; one that goes on."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RNNJOB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(temporary_folders, "_our_folders", lambda: iter(()))
    storage = Storage(str(tmp_path / "runs"))
    ended_run(storage, "old-bad", runs.FAILED)
    ended_run(storage, "new-bad", runs.FAILED, ended_at=time.time() - 60)
    ended_run(storage, "old-good")
    going_on = ended_run(storage, "going-on")
    status = RunStatus("going-on", runs.RUNNING, "cluster", address="http://x:1", submitted_at=1.0)
    runs.write_status(going_on, status)
    return storage


def rnnjob(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def left(storage: Storage) -> list[str]:
    return [name for name in storage.list() if runs.is_run_id(name)]


def test_list_shows_the_bytes_of_each_run_and_of_all(storage: Storage) -> None:
    storage.child(".data").child("x").write("y", b"12345")
    content = json.loads(rnnjob("list", "--disk", "--json", "-n", "1").stdout)
    sizes = {name: storage.child(name).usage()[1] for name in left(storage)}
    assert content["disk"] == {
        "num_runs": 4,
        "run_bytes": sum(sizes.values()),
        "data_bytes": 5,
        "code_bytes": 0,
        "parts_bytes": 0,
        "num_bytes": sum(sizes.values()) + 5,
    }
    assert [row["num_bytes"] for row in content["runs"]] == [sizes[content["runs"][0]["run_id"]]]
    shown = rnnjob("list", "--disk").stdout
    assert "SIZE" in shown and "cut data sets (.data): 5 B" in shown
    assert "SIZE" not in rnnjob("list").stdout
    assert "num_bytes" not in rnnjob("list", "--json").stdout


@pytest.mark.parametrize(
    ("flags", "gone"),
    [
        (["--older-than", "30d"], {"old-bad", "old-good"}),
        (["--state", "failed"], {"old-bad", "new-bad"}),
        (["--older-than", "30d", "--state", "FAILED"], {"old-bad"}),
        (["--older-than", "50d"], set()),
        (["old-g", "new-bad", "new-bad"], {"old-good", "new-bad"}),
    ],
)
def test_several_runs_are_deleted_at_once(storage: Storage, flags: list[str], gone: set) -> None:
    before = set(left(storage))
    dry = rnnjob("delete", *flags, "--dry-run", "--json")
    assert {row["run_id"] for row in json.loads(dry.stdout)["runs"]} == gone
    assert set(left(storage)) == before
    unasked = rnnjob("delete", *flags)
    assert unasked.exit_code == (2 if gone else 0) and set(left(storage)) == before
    assert rnnjob("delete", *flags, "-y").exit_code == 0
    assert set(left(storage)) == before - gone


def test_a_run_that_goes_on_is_neither_chosen_nor_deleted_and_the_others_stay(
    storage: Storage,
) -> None:
    named = rnnjob("delete", "old-bad", "going-on", "-y")
    assert named.exit_code == 2 and "going-on is UNREACHABLE" in named.stderr
    assert len(left(storage)) == 4
    assert rnnjob("delete", "--older-than", "1s", "-y").exit_code == 0
    assert left(storage) == ["going-on"]


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["old-bad", "--state", "FAILED"],
        ["--state", "RUNNING"],
        ["--older-than", "soon"],
        ["--older-than", "-1d"],
    ],
)
def test_a_delete_of_nothing_in_particular_is_refused(storage: Storage, flags: list[str]) -> None:
    assert rnnjob("delete", *flags, "-y").exit_code == 2
    assert len(left(storage)) == 4


def test_a_run_that_is_lost_is_told_so_pruned_and_deleted(storage: Storage) -> None:
    run = ended_run(storage, "lost")
    for step in (1, 2):
        make_old(add_checkpoint(run, step))
    gone = {**runs.this_process(), "pid_started": 1.0}
    runs.write_status(run, RunStatus("lost", runs.RUNNING, "local", submitted_at=1.0, **gone))
    pruned = json.loads(rnnjob("prune", "--older-than", "30d", "-y", "--json").stdout)
    assert run.storage.list(run.CHECKPOINTS) == ["step-00000002"], pruned
    done = rnnjob("delete", "lost", "-y")
    assert done.exit_code == 0, done.output
    unasked = rnnjob("delete", "--state", "LOST")
    assert unasked.exit_code == 0 and "lost" not in left(storage)


def test_prune_says_what_it_removes_and_a_dry_run_removes_nothing(
    storage: Storage, tmp_path: Path
) -> None:
    run = ended_run(storage, "r")
    for step in (1, 2):
        add_checkpoint(run, step)
    run.storage.write("logs/x.log", b"1234")
    make_old(tmp_path)
    dry = rnnjob("prune", "--dry-run")
    assert dry.exit_code == 0 and len(dry.stdout.splitlines()) == 2
    assert "step-00000001: the one of step 2 is whole" in dry.stdout
    assert dry.stderr.startswith("would remove 1 checkpoint(s), 1 folder(s) of logs: ")
    unasked = rnnjob("prune")
    assert unasked.exit_code == 2 and "no terminal to ask on" in unasked.stderr
    assert run.storage.list("checkpoints") == ["step-00000001", "step-00000002"]
    done = json.loads(rnnjob("prune", "-y", "--json").stdout)
    assert {item["kind"] for item in done["removed"]} == {"checkpoint", "logs"}
    assert run.storage.list("checkpoints") == ["step-00000002"]
    assert not run.storage.exists("logs")
    nothing = rnnjob("prune", "-y")
    assert nothing.exit_code == 0 and "nothing to remove" in nothing.stderr


def test_two_hundred_runs_are_listed_and_pruned_within_three_seconds(
    storage: Storage, tmp_path: Path
) -> None:
    for number in range(200):
        run = ended_run(storage, f"r{number}", ended_at=LONG_AGO)
        for step in (1, 2):
            add_checkpoint(run, step)
    make_old(tmp_path)
    for command in (("list", "--disk", "--all"), ("prune", "--dry-run"), ("prune", "-y")):
        begin = time.process_time()  # other work on the machine does not count
        assert rnnjob(*command).exit_code == 0
        assert time.process_time() - begin < 3, command
