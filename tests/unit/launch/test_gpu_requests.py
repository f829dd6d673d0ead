"""A job that wants GPUs which are not there is refused, and leaves everything as it was."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator import runs
from orchestrator.cluster.connection import Connection
from orchestrator.launch.launcher import Launcher, launcher_here
from orchestrator.launch.ray_jobs import RayJobsLauncher
from orchestrator.launch.resumption import check_resumption
from orchestrator.launch.submission import check_new_run
from tests.unit.fakes import FakeLauncher, tiny_spec
from tests.unit.recording_cluster import NODE, RecordingCluster, recording_cluster
from workers.errors import ResourcesError
from workers.records.run_folder import RunFolder

ONE_GPU = {"scaling.gpus_per_worker": 1}
MODES = pytest.mark.parametrize("mode", [runs.LOCAL, runs.RAY])


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The number of GPUs that torch finds, as a test sets it."""
    found = {"number": 0}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found["number"] > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: found["number"])
    return found


@pytest.fixture
def cluster() -> Iterator[RecordingCluster]:
    with recording_cluster() as cluster:
        yield cluster


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@MODES
def test_a_job_is_refused_where_no_gpu_is(tmp_path: Path, gpus: dict[str, int], mode: str) -> None:
    with pytest.raises(ResourcesError) as caught:
        check_new_run(tiny_spec(tmp_path, **ONE_GPU), launcher_here(mode, verbose=False))
    assert caught.value.exit_code == 6 and "--gpus-per-worker 0" in caught.value.cure
    assert not (tmp_path / "runs").exists()


@MODES
def test_a_run_that_is_to_be_resumed_stays_as_it_ended(
    tmp_path: Path, gpus: dict[str, int], mode: str
) -> None:
    run = check_new_run(tiny_spec(tmp_path), FakeLauncher(), "run-1").create_run()
    runs.write_status(run, replace(runs.read_status(run), state=runs.SUCCEEDED, exit_code=0))
    run.write_json(run.RESULT, {"state": runs.SUCCEEDED, "test_accuracy": 0.9})
    before = files_of(tmp_path / "runs")
    with pytest.raises(ResourcesError):
        check_resumption(
            run,
            runs.read_status(run),
            launcher_here(mode, False),
            {"training.epochs": 3, **ONE_GPU},
        )
    assert files_of(tmp_path / "runs") == before


def test_workers_of_this_machine_may_share_its_gpus(tmp_path: Path, gpus: dict[str, int]) -> None:
    gpus["number"] = 1
    launcher = launcher_here(runs.RAY, verbose=False)
    shared = {"scaling.workers": 2, "scaling.gpus_per_worker": 0.5}
    assert check_new_run(tiny_spec(tmp_path, **shared), launcher)
    with pytest.raises(ResourcesError, match=r"2 worker\(s\) need 1 GPU each, this machine has 1"):
        check_new_run(tiny_spec(tmp_path, **{**shared, **ONE_GPU}), launcher)


def on_cluster(cluster: RecordingCluster) -> Launcher:
    return RayJobsLauncher(Connection(cluster.address))


def test_a_cluster_that_will_never_have_a_gpu_refuses(
    tmp_path: Path, cluster: RecordingCluster
) -> None:
    cluster.running_nodes = "1 node_0a1b2c"
    with pytest.raises(ResourcesError) as caught:
        check_new_run(tiny_spec(tmp_path, **ONE_GPU), on_cluster(cluster))
    assert "a worker needs 1 GPU, the largest of 1 node(s) has 0 GPU" in caught.value.cause
    assert "no autoscaler" in caught.value.cause and "--gpus-per-worker" in caught.value.cure
    assert not (tmp_path / "runs").exists()
    assert not cluster.paths("POST")


@pytest.mark.parametrize(
    "running", ["1 headgroup", "(no active nodes)", ""], ids=["autoscaler", "unclear", "unknown"]
)
def test_a_cluster_that_may_get_a_gpu_takes_the_job(
    tmp_path: Path, cluster: RecordingCluster, running: str
) -> None:
    cluster.running_nodes = running
    checked = check_new_run(tiny_spec(tmp_path, **ONE_GPU), on_cluster(cluster))
    assert checked.destination["fits"].startswith("not on the present nodes")


@pytest.mark.parametrize("values", [{}, ONE_GPU], ids=["no GPU", "one GPU"])
def test_a_cluster_that_has_what_is_wanted_is_not_asked_for_an_autoscaler(
    tmp_path: Path,
    cluster: RecordingCluster,
    values: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(NODE, "resources_total", {"CPU": 4.0, "GPU": 1.0})
    assert check_new_run(tiny_spec(tmp_path, **values), on_cluster(cluster))
    assert not [path for path in cluster.paths("GET") if "cluster_status" in path]


def test_a_resumed_run_stays_as_it_ended_if_its_cluster_refuses(
    tmp_path: Path, cluster: RecordingCluster
) -> None:
    run: RunFolder = check_new_run(tiny_spec(tmp_path), FakeLauncher(), "run-1").create_run()
    runs.write_status(run, replace(runs.read_status(run), state=runs.STOPPED, exit_code=5))
    run.storage.write(run.RESULT, json.dumps({"state": runs.STOPPED}).encode())
    before = files_of(tmp_path / "runs")
    cluster.running_nodes = "1 node_0a1b2c"
    with pytest.raises(ResourcesError):
        check_resumption(run, runs.read_status(run), on_cluster(cluster), ONE_GPU)
    assert files_of(tmp_path / "runs") == before
