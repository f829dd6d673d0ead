"""A script in Python, as a process of its own: what people run instead of `rnnjob`."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.commands import output_of
from tests.conftest import ENOUGH_S, Cli

JOB = ("--dataset", "mnist-sample", "--epochs", "2")
SCRIPT = """
import json, sys
from orchestrator import submit
options = json.loads(sys.argv[1])
run = submit({"dataset.name": "mnist-sample", "training.epochs": 2}, **options)
run.wait()
model = run.model()
print(json.dumps({
    "result": run.result, "steps": run.metrics.num_rows, "loaded": sorted(sys.modules),
    "parameters": sum(p.numel() for p in model.parameters()),
    "accuracy": run.evaluate()["accuracy"], "shown": repr(run),
}))
"""


def run_script(rnnjob: Cli, **options: Any) -> Any:
    command = [sys.executable, "-c", SCRIPT, json.dumps(options)]
    return json.loads(output_of(command, cwd=rnnjob.cwd, env=rnnjob.environment))


def test_a_script_trains_in_its_own_process_to_the_weights_of_the_command_line(
    rnnjob: Cli,
) -> None:
    found = run_script(rnnjob, local=True, run_id="script")
    same = rnnjob("submit", "--local", *JOB, "--json")
    assert same.exit_code == 0, same.stderr
    assert found["result"]["weights_sha256"] == same.json["weights_sha256"]
    assert found["accuracy"] == found["result"]["test_accuracy"]
    assert found["steps"] == found["result"]["steps"] and found["parameters"] > 0
    assert found["shown"].startswith("<Run script SUCCEEDED, test accuracy ")
    assert not {"ray", "click", "IPython"} & set(found["loaded"])


@pytest.mark.release
def test_a_script_trains_on_a_ray_of_its_own_which_is_gone_afterwards(
    rnnjob: Cli, no_process_left: None
) -> None:
    found = run_script(rnnjob, workers=2, run_id="script")
    same = rnnjob("submit", "--local", *JOB, "--json")
    assert found["result"]["weights_sha256"] == same.json["weights_sha256"]
    assert found["result"]["workers"] == 2
    assert "ray" not in found["loaded"]


def test_a_failed_run_ends_a_script_with_its_cause_and_cure(rnnjob: Cli) -> None:
    script = "from orchestrator import submit; submit({'training.epoch': 1}, local=True)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=rnnjob.cwd,
        env=rnnjob.environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-2].endswith("unknown key 'training.epoch' in the spec")
    assert done.stderr.splitlines()[-1] == "did you mean 'training.epochs'?"
    assert not (rnnjob.cwd / "runs").exists()


LEFT = """
import sys
if sys.argv[1:]:
    sys.ps1 = ">>> "  # what tells an interactive session
from orchestrator import submit
epochs = 100_000 if sys.argv[1:] else 2
job = {"dataset.name": "mnist-sample", "training.epochs": epochs}
run = submit(job, local=True, run_id="left")
while sys.argv[1:] and not run.metrics.num_rows:
    pass
"""


def leave(rnnjob: Cli, *arguments: str) -> tuple[str, Any]:
    """Run a script that does not wait for its run. Return what it says, and the run's status."""
    done = subprocess.run(
        [sys.executable, "-c", LEFT, *arguments],
        cwd=rnnjob.cwd,
        env=rnnjob.environment,
        capture_output=True,
        text=True,
        timeout=ENOUGH_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr, rnnjob("status", "left", "--json").json


def test_a_script_that_does_not_wait_ends_with_its_run(rnnjob: Cli) -> None:
    said, status = leave(rnnjob)
    assert status["state"] == "SUCCEEDED" and "waiting for the end of left" in said
    assert rnnjob("evaluate", "left").exit_code == 0


def test_whoever_leaves_a_session_stops_the_run_with_a_checkpoint(rnnjob: Cli) -> None:
    said, status = leave(rnnjob, "interactive")
    assert status["state"] == "STOPPED" and "stopping left with a checkpoint" in said
    resumed = rnnjob("resume", "left", "--set", "limits.steps=100", "--json")
    assert resumed.exit_code == 5 and resumed.json["steps"] == 100, resumed.stderr
