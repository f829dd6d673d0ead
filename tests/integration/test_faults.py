"""Faults on a cluster of three real nodes. Each run ends with the weights of an undisturbed run."""

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.conftest import GONE_S, Cli, Finished, wait_for
from tests.integration.disturbed import EPOCHS, EVERY, JOB, STEPS, Cluster, Run, suspended
from tests.integration.real_cluster import real_cluster

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def cluster(module_rnnjob: Cli) -> Iterator[Cluster]:
    with real_cluster(module_rnnjob, 3) as (cli, content):
        yield Cluster(cli, content)


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster) -> Finished:
    done = cluster.cli("submit", "--local", *JOB, "--run-id", "undisturbed", "--json")
    assert (done.exit_code, done.json["steps"]) == (0, STEPS), done.stderr
    return done


def check(run: Run, undisturbed: Finished) -> dict[str, Any]:
    """Check that a run ended with the result of the undisturbed run. Return its result."""
    waited = run.cluster.cli("wait", run.run_id, "--json", "--timeout", "10m")
    assert waited.exit_code == 0, waited.stderr
    result: dict[str, Any] = waited.json
    assert result["weights_sha256"] == undisturbed.json["weights_sha256"]
    assert result["test_loss"] == undisturbed.json["test_loss"]
    assert [step["step"] for step in run.records("step")] == list(range(1, STEPS + 1))
    assert [epoch["rows_seen"] for epoch in result["data_account"]] == [3667] * EPOCHS
    for phase in result["phases"]:
        # A checkpoint may still be in progress during the steps after it.
        assert phase["repeated_steps"] <= 2 * EVERY
    assert sum(phase["steps"] for phase in result["phases"]) == STEPS
    return result


def test_nodes_join_die_and_are_preempted(cluster: Cluster, undisturbed: Finished) -> None:
    run = cluster.submit("elastic", "--workers", "1:3", "--set", "scaling.resize_interval=1s")
    assert run.wait_for_start() == 3
    cluster.kill_nodes(*(worker.node_id for worker in run.workers()[:2]))
    assert run.wait_for_start() == 1

    # The workers are suspended so that the job does not end before Ray has seen the other nodes.
    with suspended(run.workers()):
        # Ray Train asks this actor, which counts the nodes from time to time. It must not count
        # between the first and the second.
        coordinators = cluster.actors("AutoscalingCoordinatorActor")
        assert coordinators
        with suspended(coordinators):
            cluster.add_nodes(2)
        wait_for(run.has_started_again)
    assert run.wait_for_start() == 3
    assert run.status["reason"] == "resized from 1 to 3 workers"

    workers = run.workers()
    node_id = workers[0].node_id
    with suspended(workers):  # the command takes seconds to start
        cluster.drain(node_id, seconds=20)
    wait_for(lambda: len(run.failures()) == 2)
    # Not those that Ray may have started meanwhile: they would never become ready.
    with suspended(workers):
        wait_for(lambda: run.status["state"] == "RESTARTING")
        cluster.kill_nodes(node_id)  # its deadline has passed
        wait_for(run.has_started_again)
    run.wait_for_start()
    assert "is taken away" in run.status["reason"]
    result = check(run, undisturbed)
    assert [phase["workers"] for phase in result["phases"]][:3] == [3, 1, 3]
    failures = run.failures()
    # Ray may see that the node is gone before it starts the workers elsewhere.
    assert {failure["kind"] for failure in failures[1:]} == {"preemption"}
    assert failures[1]["deadline"] > 0 and "actor_id" not in failures[-1]["reason"]
    described = cluster.cli("describe", "elastic").stdout
    assert "elastic  SUCCEEDED" in described


def test_a_worker_the_controller_a_node_and_the_driver_are_killed(
    cluster: Cluster, undisturbed: Finished
) -> None:
    cluster.add_nodes(3 - cluster.status()["nodes_alive"])
    run = cluster.submit("killed", "--workers", "2", "--max-failures", "4")
    run.wait_for_start()
    run.workers()[0].process.kill()
    run.wait_for_start()
    cluster.actors("TrainController")[0].process.kill()
    run.wait_for_start()
    assert "Ray Train's controller was lost" in run.status["reason"]
    cluster.kill_nodes(run.workers()[0].node_id)  # the third node takes its place
    run.wait_for_start()
    driver = psutil.Process(run.status["pid"])
    assert "orchestrator.driver" in driver.cmdline()
    driver.kill()
    wait_for(lambda: run.status["state"] == "RESTARTING")
    assert cluster.cli("why", "killed").stdout
    run.wait_for_start()
    assert run.status["reason"] == "restarted: the driver was killed by SIGKILL"
    result = check(run, undisturbed)
    assert [phase["workers"] for phase in result["phases"]] == [2] * 5
    failures = run.failures()
    assert [failure["kind"] for failure in failures] == ["worker", "worker", "worker", "driver"]
    assert not (run.folder / ".ray-train").exists()


def test_an_elastic_job_whose_driver_was_killed_has_all_its_workers_again(
    cluster: Cluster, undisturbed: Finished
) -> None:
    """Ray would hold what the killed driver had asked for three more minutes."""
    cluster.add_nodes(3 - cluster.status()["nodes_alive"])
    run = cluster.submit("again", "--workers", "1:3")
    assert run.wait_for_start() == 3
    psutil.Process(run.status["pid"]).kill()
    assert run.wait_for_start() == 3
    log = (run.folder / "logs" / "driver.log").read_text()
    assert "took back what Ray held for the controller before this one" in log
    check(run, undisturbed)


def test_what_a_job_held_whose_driver_and_supervisor_were_killed_is_free_soon(
    cluster: Cluster, undisturbed: Finished
) -> None:
    """Nobody takes its request back, so it must expire, for another job to have the CPUs."""
    lost = cluster.submit("lost", "--workers", "1:3")
    assert lost.wait_for_start() == 3
    driver = psutil.Process(lost.status["pid"])
    supervisor = driver.parent()
    assert supervisor and "orchestrator.driver.supervisor" in supervisor.cmdline()
    supervisor.kill()
    driver.kill()
    time.sleep(10)
    run = cluster.submit("next", "--workers", "1:3")
    assert run.wait_for_start() == 3
    check(run, undisturbed)


def test_a_driver_without_its_supervisor_ends_with_a_checkpoint(
    cluster: Cluster, undisturbed: Finished
) -> None:
    """Ray Jobs says FAILED at once, since the supervisor is the job's entrypoint to it."""
    run = cluster.submit("orphan", "--workers", "2")
    run.wait_for_start()
    driver = psutil.Process(run.status["pid"])
    supervisor = driver.parent()
    assert supervisor and "orchestrator.driver.supervisor" in supervisor.cmdline()
    supervisor.kill()
    wait_for(lambda: not driver.is_running(), timeout=GONE_S)
    assert (run.status["state"], run.status["exit_code"]) == ("FAILED", 1)
    assert run.status["reason"] == "the supervisor of the driver was killed"
    assert "rnnjob resume orphan" in run.status["cure"]
    ended = cluster.cli("wait", "orphan", "--timeout", "1m")
    assert ended.exit_code == 1 and "the supervisor of the driver was killed" in ended.stderr
    listed = cluster.cli("list", "--json").json["runs"]
    assert {"orphan": "FAILED"}.items() <= {
        each["run_id"]: each["state"] for each in listed
    }.items()
    for kind in ("RayTrainWorker", "TrainController"):
        wait_for(lambda kind=kind: not cluster.actors(kind), timeout=GONE_S)
    again = cluster.cli("resume", "orphan", "-d", "--address", "local")
    assert again.exit_code == 0, again.stderr
    check(run, undisturbed)


def test_a_run_goes_on_on_another_cluster(cluster: Cluster, undisturbed: Finished) -> None:
    """This is the last test of the module, because it ends the cluster."""
    run = cluster.submit("moved", "--workers", "2")
    run.wait_for_start()
    raylets = [node for node in cluster.status()["nodes"] if node["is_head"]]
    cluster.kill_nodes(raylets[0]["node_id"])
    os.kill(_gcs_of(cluster), signal.SIGKILL)
    assert cluster.cli("cluster", "down").exit_code == 0
    ended = cluster.cli("wait", "moved", "--timeout", "5m")
    assert ended.exit_code in (1, 5), ended.stderr
    again = cluster.cli("resume", "moved", "--local", "--json")
    assert again.exit_code == 0, again.stderr
    check(run, undisturbed)


def _gcs_of(cluster: Cluster) -> int:
    (gcs,) = [
        process["pid"]
        for process in cluster.content["nodes"][0]["processes"]
        if process["name"] == "gcs_server"
    ]
    return int(gcs)
