"""The command `rnnjob drill` with real faults. Afterwards none of its processes runs."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import ENOUGH_S, Cli
from tests.integration.test_cluster_local import _cmdline, of_removed_clusters, started_with

SMALL = ("--set", "dataset.num_shards=4", "--set", "model.hidden_size=8")


@pytest.fixture
def cli(rnnjob: Cli, tmp_path: Path) -> Iterator[Cli]:
    """The CLI with its own state folder. After the test, check that it left no process."""
    cli = replace(
        rnnjob, environment={**rnnjob.environment, "RNNJOB_STATE_DIR": str(tmp_path / "state")}
    )
    yield cli
    left = started_with(cli) | of_removed_clusters(Path(cli.environment["TMPDIR"]))
    assert not left, [_cmdline(process) for process in left]


@pytest.mark.long
def test_a_cluster_of_its_own_loses_a_worker_and_a_checkpoint_and_nothing_else(
    cli: Cli, tmp_path: Path
) -> None:
    # The seed puts the faults at the steps 15 and 123 of 232. The process that injects the second
    # one takes seconds to start, and the job must not be over by then.
    done = cli(
        "drill", *SMALL, "--nodes", "2", "--faults", "worker,storage", "--num-faults", "2",
        "--epochs", "4", "--seed", "31", "--json", "--set", "model.read=pixels",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr + done.stdout
    report = done.json
    assert report["equal"] and all(check["ok"] for check in report["checks"])
    assert sorted(fault["kind"] for fault in report["faults"]) == ["storage", "worker"]
    assert [fault["outcome"] for fault in report["faults"]] == ["survived", "survived"]
    assert all(fault["lost_s"] > 0 for fault in report["faults"])
    ours, theirs = report["undisturbed"], report["disturbed"]
    assert ours["weights_sha256"] == theirs["weights_sha256"] is not None
    assert theirs["attempts"] == 3
    assert not list((tmp_path / "state" / "clusters").glob("*"))


def test_one_process_is_killed_and_its_checkpoint_damaged(cli: Cli) -> None:
    short = ("--set", "training.steps=150")
    done = cli(
        "drill", "--local", *SMALL, *short, "--faults", "driver,storage", "--num-faults", "2"
    )
    assert done.exit_code == 0, done.stderr
    assert "nothing was lost" in done.stdout
    assert done.stdout.count("survived ") >= 2
    runs = cli("list", "--json").json["runs"]
    assert len({run["weights_sha256"] for run in runs}) == 1
    assert sorted(run["run_id"].rpartition("-")[2] for run in runs) == ["disturbed", "undisturbed"]


@pytest.mark.long
def test_ctrl_c_takes_the_cluster_and_both_runs_down(cli: Cli, tmp_path: Path) -> None:
    drill = cli.start("drill", *SMALL, "--nodes", "1", "--workers", "1")
    assert drill.stderr is not None
    assert any("undisturbed, on one process" in line for line in drill.stderr)
    os.killpg(drill.pid, signal.SIGINT)
    _, stderr = drill.communicate(timeout=ENOUGH_S)
    assert (drill.returncode, stderr.strip()) == (130, "interrupted")
    assert not list((tmp_path / "state" / "clusters").glob("*"))


@pytest.mark.parametrize(
    ("words", "exit_code", "cause"),
    [
        (("--local", "--faults", "worker"), 2, "--faults worker cannot be used with --local"),
        (("--local", "--nodes", "2"), 2, "--nodes cannot be used with --local"),
        (("--faults", "disk"), 2, "unknown fault 'disk'"),
        (("--workers", "4", "--nodes", "2"), 2, "4 workers"),
        (("--num-faults", "60", "--epochs", "1"), 2, "58 steps, too few for 60 faults"),
        (("--address", "http://127.0.0.1:9"), 3, "no cluster answers"),
    ],
)
def test_what_cannot_be_drilled_is_refused_before_anything_runs(
    cli: Cli, words: tuple[str, ...], exit_code: int, cause: str
) -> None:
    done = cli("drill", *words)
    assert done.exit_code == exit_code
    assert cause in done.cause and done.cure
    assert cli("list", "--json").json["runs"] == []
