"""More jobs than a cluster has room for: Ray queues them, and all of them succeed."""

from collections.abc import Iterator

import pytest

from tests.conftest import ENOUGH_S, Cli, wait_for
from tests.integration.real_cluster import real_cluster

pytestmark = pytest.mark.release
NUM_JOBS = 10
JOB = ("--dataset", "mnist-sample", "--epochs", "1", "-d", "--pending-timeout", "20m")


@pytest.fixture
def cli(rnnjob: Cli) -> Iterator[Cli]:
    """The CLI with a cluster of two nodes with one CPU each."""
    with real_cluster(rnnjob, 2) as (cli, _):
        yield cli


@pytest.mark.timeout(900)
def test_ten_jobs_at_once_on_two_cpus_all_succeed(cli: Cli) -> None:
    names = [f"job-{number}" for number in range(NUM_JOBS)]
    started = [cli.start("submit", "--address", "local", *JOB, "--run-id", n) for n in names]
    for process in started:
        _, stderr = process.communicate(timeout=ENOUGH_S)
        assert process.returncode == 0, stderr

    def one_that_waits() -> str:
        """Return a run that is PENDING while another one is RUNNING, both at one moment."""
        states = {run["run_id"]: run["state"] for run in cli("list", "--json").json["runs"]}
        waiting = [name for name, state in states.items() if state == "PENDING"]
        return waiting[0] if waiting and "RUNNING" in states.values() else ""

    waiting = wait_for(one_that_waits)
    assert cli("why", waiting, "--json").json["category"] in ("waiting", "running")
    assert cli("cluster", "status").exit_code == 0, "the dashboard answers"

    ended = {name: cli("wait", name, "--json", "--timeout", "12m") for name in names}
    assert {name: done.exit_code for name, done in ended.items()} == dict.fromkeys(names, 0)
    assert len({done.json["weights_sha256"] for done in ended.values()}) == 1
    # A driver ends a moment after it has written its outcome.
    wait_for(lambda: cli("cluster", "status", "--json").json["cpus_free"] == 2)
    assert cli("cluster", "status", "--json").json["nodes_alive"] == 2
