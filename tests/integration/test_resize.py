"""A planned change of the number of workers loses no step."""

import pytest

from tests.conftest import Cli, wait_for
from tests.integration.disturbed import Cluster, Run
from tests.integration.real_cluster import real_cluster

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
# Ray counts the nodes only every 20 s, and the job must not be over by then. It has no checkpoint
# but those at the end of its epochs, which take long.
JOB = (
    "--dataset", "mnist-sample", "--batch-size", "48", "--set", "dataset.num_shards=6",
    "--set", "model.read=pixels", "--set", "model.hidden_size=8", "--epochs", "50",
    "--set", "checkpoint.every_s=0",
)  # fmt: skip
_MEASURED = ("step", "loss", "accuracy", "lr", "gradient_norm")


def test_a_job_that_grows_computes_no_step_again(rnnjob: Cli) -> None:
    with real_cluster(rnnjob, 1) as (cli, content):
        cluster = Cluster(cli, content)
        submit = ("submit", "--address", "local", "-d", "--workers", "1:2", "--run-id", "grows")
        done = cli(*submit, *JOB, "--set", "scaling.resize_interval=1s")
        assert done.exit_code == 0, done.stderr
        run = Run(cluster, "grows")
        assert run.wait_for_start() == 1
        cluster.add_nodes(1)
        assert run.wait_for_start() == 2
        assert cli("stop", "grows").exit_code == 0
        wait_for(lambda: run.status["state"] == "STOPPED")
        result = cli("show", "grows", "--json").json["result"]
    before, after = result["phases"]
    assert (before["workers"], after["workers"]) == (1, 2)
    assert after["repeated_steps"] == 0 and after["from_step"] == before["steps"] > 0
    steps = run.records("step")
    assert [step["step"] for step in steps] == list(range(1, len(steps) + 1))

    alone = ("submit", "--local", "--run-id", "alone", "--set", f"limits.steps={len(steps)}")
    assert rnnjob(*alone, *JOB).exit_code == 5
    expected = Run(cluster, "alone").records("step")
    assert [[s[key] for key in _MEASURED] for s in steps] == [
        [s[key] for key in _MEASURED] for s in expected
    ]
