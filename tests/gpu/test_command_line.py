"""Jobs on one GPU through the installed `rnnjob`: local, on Ray, shared, killed and resumed."""

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from tests.conftest import Cli, command_of, started_by_tests, wait_for

JOB = ("--dataset", "mnist-sample", "--batch-size", "256")
SHORT, LONG = ("--epochs", "3"), ("--epochs", "120", "--checkpoint-every", "20")
LIMIT_S = 240.0
"""Ray, torch and CUDA start anew in each process of a job, and Ray Train starts them in turn."""
LAST_LINES = 40

pytestmark = pytest.mark.timeout(2 * LIMIT_S + 60)


def json_of(rnnjob: Cli, *arguments: str) -> Any:
    """Run a command to its end and return its JSON. If it fails, print what its runs left."""
    try:
        done = rnnjob(*arguments, "--json", timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        print_records(rnnjob.cwd / "runs")
        raise
    if done.exit_code:
        print_records(rnnjob.cwd / "runs")
    assert done.exit_code == 0, done.stderr
    return done.json


def print_records(runs: Path) -> None:
    """Print the status, the failures and the ends of the logs of all runs."""
    for pattern in ("status.json", "failures.jsonl", "logs/*"):
        for path in sorted(runs.glob(f"*/{pattern}")):
            lines = path.read_text(errors="replace").splitlines()
            print(f"--- {path.relative_to(runs)}", *lines[-LAST_LINES:], sep="\n")


def starts_of(run: Path) -> list[dict[str, Any]]:
    """Return the records of the starts of a run's workers."""
    records = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [record for record in records if record["kind"] == "start"]


def has_checkpoint(run: Path) -> bool:
    return any((run / "checkpoints").glob("*/manifest.json"))


@pytest.fixture(scope="module")
def local(module_rnnjob: Cli) -> dict[str, str]:
    """For each precision, the weights of the short job in one process on the GPU."""
    how = ("submit", "--local", "--gpus-per-worker", "1", *JOB, *SHORT, "--precision")
    found = {name: json_of(module_rnnjob, *how, name) for name in ("fp32", "bf16")}
    return {name: str(done["weights_sha256"]) for name, done in found.items()}


@pytest.fixture(scope="module")
def undisturbed(module_rnnjob: Cli) -> str:
    """The weights of the long job in one process on the GPU, in bf16, as a GPU computes."""
    done = json_of(module_rnnjob, "submit", "--local", "--gpus-per-worker", "1", *JOB, *LONG)
    return str(done["weights_sha256"])


@pytest.mark.parametrize(
    ("workers", "share", "precision"),
    [("1", "1", "fp32"), ("2", "0.5", "fp32"), ("2", "0.5", "bf16"), ("3", "0.3", "bf16")],
)
def test_workers_on_ray_learn_the_weights_of_a_local_job(
    module_rnnjob: Cli, local: dict[str, str], workers: str, share: str, precision: str
) -> None:
    how = ("--workers", workers, "--gpus-per-worker", share, "--precision", precision)
    done = json_of(module_rnnjob, "submit", *how, *JOB, *SHORT)
    assert done["weights_sha256"] == local[precision]


def test_a_killed_job_goes_on_with_the_same_bits(module_rnnjob: Cli, undisturbed: str) -> None:
    gpu = ("--gpus-per-worker", "1")
    run = module_rnnjob.cwd / "runs" / "killed"
    process = module_rnnjob.start("submit", "--local", *gpu, *JOB, *LONG, "--run-id", run.name)
    wait_for(lambda: has_checkpoint(run), LIMIT_S)
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed = json_of(module_rnnjob, "resume", run.name, "--local")
    assert resumed["weights_sha256"] == undisturbed
    assert len(starts_of(run)) == 2


def test_a_killed_worker_of_a_shared_gpu_is_started_again_with_the_same_bits(
    module_rnnjob: Cli, undisturbed: str, temp_root: Path
) -> None:
    run = module_rnnjob.cwd / "runs" / "killed-worker"
    how = ("--workers", "2", "--gpus-per-worker", "0.5", "--run-id", run.name)
    process = module_rnnjob.start("submit", *how, *JOB, *LONG)
    try:
        wait_for(lambda: has_checkpoint(run), LIMIT_S)
        worker_of(temp_root).kill()
        assert process.wait(LIMIT_S) == 0
    except BaseException:
        print_records(run.parent)
        process.terminate()
        process.wait(LIMIT_S)
        raise
    result = json.loads((run / "result.json").read_text())
    assert result["weights_sha256"] == undisturbed
    assert len(starts_of(run)) == 2


def worker_of(temp_root: Path) -> psutil.Process:
    """Return a process of Ray Train's that trains."""
    return next(
        process
        for process in started_by_tests(temp_root)
        if any("TrainWorker" in word for word in command_of(process))
    )


def test_more_workers_than_the_gpu_has_room_for_are_refused(module_rnnjob: Cli) -> None:
    found = torch.cuda.device_count()
    how = ("--workers", str(found + 1), "--gpus-per-worker", "1", "--run-id", "too-many")
    done = module_rnnjob("submit", *how, *JOB, *SHORT)
    assert done.exit_code == 6
    assert f"this machine has {found}" in done.stderr
    assert not (module_rnnjob.cwd / "runs" / "too-many").exists()
