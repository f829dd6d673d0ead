"""A job on a Ray of its own starts no process that it does not need: each costs seconds of CPU."""

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator

import psutil

from tests.conftest import ENOUGH_S, RNNJOB, Cli

NEEDLESS = (
    "dashboard.py",  # of Ray: shows people what runs; this Ray lives as long as its job
    "monitor.py",  # of Ray: asks a cloud for nodes; or log_monitor.py: copies logs
    "_StatsActor",  # of Ray Data: statistics of datasets
    "DatasetManager",  # of Ray Train: splits datasets
    "PlacementGroupCleaner",  # of Ray Train: asks the dashboard
    "_AutoscalingCoordinatorActor",  # of Ray Data: whose request for nodes comes first
)


def names_below(pid: int) -> Iterator[str]:
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                yield " ".join(process.cmdline())


def test_a_job_on_a_ray_of_its_own_starts_only_what_it_needs(rnnjob: Cli) -> None:
    command = [
        str(RNNJOB),
        "submit",
        "--dataset",
        "mnist-sample",
        "--epochs",
        "2",
        "--workers",
        "2",
    ]
    seen: set[str] = set()
    with subprocess.Popen(
        [*command, "--cpus-per-worker", "2", "--run-id", "r", "-q"],
        cwd=rnnjob.cwd,
        env=rnnjob.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as job:
        deadline = time.monotonic() + ENOUGH_S
        while job.poll() is None and time.monotonic() < deadline:
            seen.update(names_below(job.pid))
            time.sleep(0.05)
        job.terminate()  # if the test has failed; the job then ends itself
    assert job.returncode == 0
    assert any("ray::RayTrainWorker" in name for name in seen)
    assert any("ray::TrainController" in name for name in seen)
    assert [name for name in seen if any(word in name for word in NEEDLESS)] == []
    records = (rnnjob.cwd / "runs" / "r" / "metrics.jsonl").read_text().splitlines()
    start = next(json.loads(line) for line in records if '"start"' in line)
    assert (start["workers"], start["cpus_per_worker"]) == (2, 2)
