"""The CPUs that the workers of a cluster get, where the spec leaves them open."""

import pytest

from tests.conftest import Cli
from tests.integration.disturbed import JOB, Cluster
from tests.integration.real_cluster import real_cluster


@pytest.mark.timeout(600)
def test_workers_take_what_the_nodes_have_free_and_less_once_a_node_is_lost(rnnjob: Cli) -> None:
    with real_cluster(rnnjob, 2, cpus_per_node=3) as (cli, content):
        cluster = Cluster(cli, content)
        run = cluster.submit("cpus", "--workers", "2")  # of 6 shards, so of three threads at most
        run.wait_for_start()
        cluster.kill_nodes(run.workers()[0].node_id)  # not the head, which is listed last
        run.wait_for_start()
        done = cli("wait", "cpus", "--json", "--timeout", "5m")
        assert done.exit_code == 0, done.stderr
        cpus = [start["cpus_per_worker"] for start in run.records("start")]
        assert cpus == [3, 1], "two workers on the node of three CPUs that is left"
        undisturbed = cli("submit", "--local", *JOB, "--run-id", "undisturbed", "--json")
    assert done.json["weights_sha256"] == undisturbed.json["weights_sha256"]
