"""Jobs on one GPU through the installed `rnnjob`: local, on Ray, shared, killed and resumed."""

import json
import signal

import pytest
import torch

from tests.conftest import Cli, Finished, wait_for

JOB = ("--dataset", "mnist-sample", "--epochs", "3", "--batch-size", "256", "--precision", "fp32")
SLOW = ("--epochs", "60", "--checkpoint-every", "20")


def weights_of(done: Finished) -> str:
    assert done.exit_code == 0, done.stderr
    return str(done.json["weights_sha256"])


@pytest.fixture(scope="module")
def local(module_rnnjob: Cli) -> str:
    return weights_of(module_rnnjob("submit", "--local", "--gpus-per-worker", "1", *JOB, "--json"))


@pytest.mark.parametrize(
    ("workers", "share"),
    [("1", "1"), ("2", "0.5"), ("3", "0.3")],
    ids=["one", "two", "three"],
)
def test_workers_on_ray_learn_the_weights_of_a_local_job(
    module_rnnjob: Cli, local: str, workers: str, share: str
) -> None:
    done = module_rnnjob("submit", "--workers", workers, "--gpus-per-worker", share, *JOB, "--json")
    assert weights_of(done) == local


def test_a_killed_job_goes_on_with_the_same_bits(module_rnnjob: Cli) -> None:
    gpu = ("--gpus-per-worker", "1")
    whole = module_rnnjob("submit", "--local", *gpu, *JOB, *SLOW, "--run-id", "whole", "--json")
    process = module_rnnjob.start("submit", "--local", *gpu, *JOB, *SLOW, "--run-id", "killed")
    run = module_rnnjob.cwd / "runs" / "killed"
    wait_for(lambda: list((run / "checkpoints").glob("*/manifest.json")))
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed = module_rnnjob("resume", "killed", "--local", "--json")
    assert weights_of(resumed) == weights_of(whole)
    records = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    assert [record["kind"] for record in records].count("start") == 2


def test_more_workers_than_the_gpu_has_room_for_are_refused(module_rnnjob: Cli) -> None:
    found = torch.cuda.device_count()
    workers = str(found + 1)
    done = module_rnnjob("submit", "--workers", workers, "--gpus-per-worker", "1", *JOB)
    assert done.exit_code == 6
    assert f"this machine has {found}" in done.stderr
