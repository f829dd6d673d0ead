"""The Python API with a cluster, on a fake dashboard that accepts every job and runs none."""

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import JobError, list_runs, open_run, submit
from tests.unit.fakes import wait_until
from tests.unit.recording_cluster import RecordingCluster, recording_cluster
from workers.errors import InputError, JobStoppedError

JOB = {"dataset.name": "mnist-sample", "training.epochs": 1}
SECRET = "quince-marmalade-4711"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordingCluster]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RNNJOB_HEADERS", "RAY_JOB_HEADERS"):
        monkeypatch.delenv(name, raising=False)
    with recording_cluster() as cluster:
        yield cluster


@pytest.mark.slow
def test_a_job_is_submitted_stopped_and_deleted(
    cluster: RecordingCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSPHRASE", SECRET)
    run = submit(
        JOB,
        address=cluster.address,
        workers=2,
        run_id="r",
        env={"LEVEL": "debug"},
        secrets=["PASSPHRASE"],
        headers={"X-Proxy-Key": SECRET},
    )
    assert (run.state, cluster.jobs, run.spec.scaling.workers) == ("QUEUED", {"r": "PENDING"}, 2)
    (sent,) = [request.json for request in cluster.requests if request.method == "POST"]
    assert sent["runtime_env"]["env_vars"]["LEVEL"] == "debug"
    assert all(request.headers.get("X-Proxy-Key") == SECRET for request in cluster.requests)
    assert SECRET not in repr(run) + run._repr_html_() + repr(vars(run))
    assert run.stop(force=True).state == "STOPPED"
    with pytest.raises(JobStoppedError, match="r STOPPED"):
        run.wait()
    run.delete()
    assert (list_runs(), cluster.jobs) == ([], {})


def test_an_interrupt_leaves_a_job_on_a_cluster_running(cluster: RecordingCluster) -> None:
    submit(JOB, address=cluster.address, run_id="r")
    run = open_run("r", address=cluster.address)
    seen = len(cluster.requests)

    def press() -> None:
        wait_until(lambda: len(cluster.requests) > seen + 1)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.Thread(target=press).start()
    with pytest.raises(KeyboardInterrupt):
        run.wait(progress=False)
    assert cluster.jobs == {"r": "PENDING"} and run.state == "QUEUED"
    assert not Path("runs/r/stop.json").exists()


def test_the_environment_names_the_cluster(
    cluster: RecordingCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    monkeypatch.setenv("RNNJOB_HEADERS", f'{{"X-Proxy-Key": "{SECRET}"}}')
    assert submit(JOB, run_id="r").status.address == cluster.address
    assert cluster.requests[0].headers["X-Proxy-Key"] == SECRET
    monkeypatch.setenv("RNNJOB_HEADERS", "not JSON")
    with pytest.raises(InputError, match="not a JSON object"):
        submit(JOB)


def test_a_refused_job_leaves_no_run(cluster: RecordingCluster) -> None:
    for options in ({"working_dir": "none"}, {"include": ["x"]}, {"secrets": ["NONE"]}):
        with pytest.raises(JobError) as refused:
            submit(JOB, address=cluster.address, **options)  # type: ignore[arg-type]
        assert refused.value.cure
    assert list_runs() == [] and cluster.jobs == {}
