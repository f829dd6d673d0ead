"""Faults of the storage.

A job ends with the weights of an undisturbed one, or it fails with the cause and leaves a good
checkpoint. It never reports another result.
"""

import json
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.integration.faulty_proxy import FAULTS, FaultyProxy, Outage, outages
from tests.integration.test_s3 import CREDENTIALS, at, options, port
from tests.unit.simulated import expected_of, single, tiny_job
from workers.checkpoints.background_writer import CheckpointWriter
from workers.checkpoints.checkpoint import Checkpoints
from workers.config import TrainJob
from workers.errors import StorageError
from workers.records.run_folder import RunFolder
from workers.storage import retries
from workers.storage.storage import Storage
from workers.storage.typed_json import Json
from workers.train import train

__all__ = ["port"]  # a fixture
EVERY_STEP = {"every_steps": 1, "keep_latest": 3}
NUM_STEPS = 6  # the steps of a tiny job
FILES = [
    "model.safetensors",
    "optimizer.safetensors",
    "best.safetensors",
    "state.json",
    "manifest.json",
]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The SHA-256 of the weights of a tiny job that nothing disturbs."""
    job = tiny_job(tmp_path_factory.mktemp("whole"))
    found = train(job, single(job)).weights_sha256
    assert found
    return found


@pytest.fixture
def never_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the writer save a checkpoint at every step, even while it is still busy."""
    monkeypatch.setattr(CheckpointWriter, "is_busy", False)


def good_steps(job: TrainJob) -> list[int]:
    """Return the steps of all checkpoints. Raises DamagedCheckpointError if one is damaged."""
    kept = Checkpoints(RunFolder.at(job.run_uri), job.checkpoint)
    steps = kept.steps()
    for step in steps:
        kept.load(step, job.fingerprint, expected_of(job))
    return steps


def steps_recorded(job: TrainJob) -> list[int]:
    records = RunFolder.at(job.run_uri).read_metrics()
    return [record["step"] for record in records if record["kind"] == "step"]


def at_step(step: int, act: Callable[[], object]) -> Callable[[Json], None]:
    """Return a sink for records that calls `act` when this step is recorded."""

    def sink(record: Json) -> None:
        if record["kind"] == "step" and record["step"] == step:
            act()

    return sink


# Damage to a checkpoint before it is loaded.


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    bit = random.Random(path.name).randrange(8 * len(data))
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def truncate(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: random.Random(path.name).randrange(len(data))])


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("harm", [flip_a_bit, truncate, Path.unlink], ids=lambda f: f.__name__)
def test_damage_to_the_newest_checkpoint_costs_steps_but_no_bit(
    tmp_path: Path,
    never_busy: None,
    caplog: pytest.LogCaptureFixture,
    weights: str,
    file: str,
    harm: Callable[[Path], None],
) -> None:
    job = tiny_job(tmp_path, checkpoint=EVERY_STEP)
    assert train(job, single(job, stop_after=5)).stopped
    harm(tmp_path / "checkpoints" / "step-00000005" / file)
    with caplog.at_level("INFO"):
        resumed = train(job, single(job))
    assert "skipping a damaged checkpoint: " in caplog.text
    assert "going on from the checkpoint of step 4" in caplog.text
    assert resumed.weights_sha256 == weights
    assert steps_recorded(job) == list(range(1, NUM_STEPS + 1))


@pytest.mark.parametrize("file", ["optimizer.safetensors", "manifest.json"])
def test_a_process_killed_between_two_files_of_a_checkpoint_costs_steps_but_no_bit(
    tmp_path: Path, weights: str, file: str
) -> None:
    code = f"""
        import os, signal
        from pathlib import Path
        from tests.unit.simulated import expected_of, single, tiny_job
        from workers.storage.storage import Storage
        from workers.train import train

        write = Storage.write

        def killed(storage, name, data):
            if name == {file!r} and storage.name == "step-00000003":
                os.kill(os.getpid(), signal.SIGKILL)
            write(storage, name, data)

        Storage.write = killed
        job = tiny_job(Path({str(tmp_path / "run")!r}), checkpoint={{"every_steps": 2}})
        train(job, single(job))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    job = tiny_job(tmp_path / "run", checkpoint={"every_steps": 2})
    assert not (tmp_path / "run" / "checkpoints" / "step-00000003" / "manifest.json").exists()
    assert train(job, single(job)).weights_sha256 == weights
    assert steps_recorded(job) == list(range(1, NUM_STEPS + 1))
    assert good_steps(job)[-1] == NUM_STEPS


# A local disk that is full or read-only.


class SmallDisk:
    """A small file system that only one test uses."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self) -> None:
        with open(self._filler, "ab", buffering=0) as file:
            while True:
                try:
                    file.write(bytes(4096))
                except OSError:
                    return

    def make_room(self) -> None:
        self._filler.unlink()

    def make_read_only(self, folder: Path) -> None:
        mount("--bind", folder, folder)
        mount("-o", "remount,ro,bind", folder)

    def make_writable(self, folder: Path) -> None:
        subprocess.run(["umount", str(folder)], check=True)


def mount(*words: object) -> None:
    """Run `mount`. Skip the test if this user may not mount a file system."""
    if not shutil.which("mount"):
        pytest.skip("needs the command mount")
    done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting a file system is refused here: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SmallDisk]:
    path = tmp_path / "disk"
    path.mkdir()
    mount("-t", "tmpfs", "-o", f"size={getattr(request, 'param', '1m')}", "tmpfs", path)
    yield SmallDisk(path)
    subprocess.run(["umount", "--recursive", str(path)], check=True)


@pytest.mark.parametrize("step", [2, 3, 5])
def test_a_full_disk_ends_the_job_and_with_free_space_it_ends_with_the_same_weights(
    disk: SmallDisk, weights: str, step: int
) -> None:
    job = tiny_job(disk.path / "run", checkpoint={**EVERY_STEP, "keep_latest": 1})
    with pytest.raises(StorageError) as caught:
        train(job, single(job), at_step(step, disk.fill))
    assert caught.value.cause.endswith(": No space left on device")
    assert "has room" in caught.value.cure
    assert good_steps(job), "the last good checkpoint was lost"
    disk.make_room()
    assert train(job, single(job)).weights_sha256 == weights
    assert steps_recorded(job) == list(range(1, NUM_STEPS + 1))


@pytest.mark.parametrize("disk", ["3m"], indirect=True)
def test_a_submitted_job_says_that_the_disk_is_full(rnnjob: Cli, disk: SmallDisk) -> None:
    job = ["submit", "--local", "--dataset", "mnist-sample", "--epochs", "3", "-q"]
    failed = rnnjob(*job, "--storage", str(disk.path), "--run-id", "full")
    assert failed.exit_code == 1
    assert failed.cause.endswith("No space left on device")
    assert "has room" in failed.cure
    shown = rnnjob("show", "full", "--storage", str(disk.path), "--json").json
    assert shown["status"]["state"] == "FAILED"
    assert not shown["result"] or not shown["result"].get("weights_sha256")


def test_a_read_only_folder_ends_the_job_and_once_writable_it_ends_with_the_same_weights(
    disk: SmallDisk, weights: str
) -> None:
    job = tiny_job(disk.path / "run", checkpoint=EVERY_STEP)
    folder = disk.path / "run" / "checkpoints"
    with pytest.raises(StorageError) as caught:
        train(job, single(job), at_step(5, lambda: disk.make_read_only(folder)))
    assert caught.value.cause.endswith(": Read-only file system")
    assert "is writable" in caught.value.cure
    assert good_steps(job), "the last good checkpoint was lost"
    with pytest.raises(StorageError, match="Read-only file system"):
        train(job, single(job))
    disk.make_writable(folder)
    assert train(job, single(job)).weights_sha256 == weights


def test_a_read_only_storage_is_refused_at_submission(rnnjob: Cli, disk: SmallDisk) -> None:
    disk.make_read_only(disk.path)
    refused = rnnjob(
        "submit", "--local", "--dataset", "mnist-sample", "--storage", str(disk.path), "-q"
    )
    disk.make_writable(disk.path)
    assert refused.exit_code == 2
    assert "Read-only file system" in refused.cause
    assert list(disk.path.iterdir()) == []


# S3 that fails for a while or permanently.


def on_s3(folder: Path, port: int, name: str) -> TrainJob:
    Storage(f"s3://faults?{options(port)}").create()
    run = RunFolder.at(f"s3://faults/{name}?{options(port)}")
    run.storage.write(run.JOB, b"{}")
    return at(tiny_job(folder, checkpoint=EVERY_STEP), run)


def through(proxy: FaultyProxy, job: TrainJob) -> TrainJob:
    uri = f"s3://faults/{RunFolder.at(job.run_uri).run_id}?{options(proxy.port)}"
    return job.model_copy(update={"run_uri": uri})


@pytest.mark.parametrize("seed", range(4))
def test_a_job_survives_a_storage_that_fails_for_seconds(
    tmp_path: Path, port: int, weights: str, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    # Each seed has its own kind of fault. The outage is longer than the retries of the S3 client.
    plan = outages(seed, [FAULTS[seed]], num=1, seconds=4.0)
    job = on_s3(tmp_path, port, f"outages-{seed}")
    with FaultyProxy(port, plan, trigger="checkpoints") as proxy:
        result = train(through(proxy, job), single(job))
    assert proxy.num_faults > 0, "the test disturbed nothing"
    assert "trying again in" in caplog.text
    assert result.weights_sha256 == weights
    assert steps_recorded(job) == list(range(1, NUM_STEPS + 1))
    assert good_steps(job)[-1] == NUM_STEPS


def test_a_permanent_failure_ends_the_job_with_its_cause_and_a_good_checkpoint(
    tmp_path: Path, port: int, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "MAX_FAILING_S", 3.0)
    job = on_s3(tmp_path, port, "for-good")
    assert train(job, single(job, stop_after=2)).stopped
    with (
        FaultyProxy(port, [Outage("503", after=8, seconds=1e9)], trigger="checkpoints") as proxy,
        pytest.raises(StorageError, match="HTTP status 503"),
    ):
        train(through(proxy, job), single(job))
    assert good_steps(job), "the last good checkpoint was lost"
    assert train(job, single(job)).weights_sha256 == weights
    assert steps_recorded(job) == list(range(1, NUM_STEPS + 1))


@pytest.mark.long
def test_a_submitted_job_and_its_follower_survive_storage_failures(
    rnnjob: Cli, port: int, tmp_path: Path
) -> None:
    job = ["submit", "--local", "--dataset", "mnist-sample", "--epochs", "2", "--json"]
    own = {n: v for n, v in rnnjob.environment.items() if not n.startswith("AWS_")}
    cli = replace(rnnjob, environment={**own, **CREDENTIALS})
    undisturbed = cli(*job, "--storage", "here")
    plan = outages(7, FAULTS, num=2, seconds=4.0)
    with FaultyProxy(port, plan, trigger="metrics.jsonl") as proxy:
        uri = f"s3://faults/cli?{options(proxy.port)}"
        disturbed = cli(*job, "--storage", uri, "--run-id", "r")
    assert disturbed.exit_code == 0, disturbed.stderr
    assert proxy.num_faults > 0, "the test disturbed nothing"
    assert disturbed.json["weights_sha256"] == undisturbed.json["weights_sha256"]
    folder = Storage(f"s3://faults/cli/r?{options(port)}")
    result: dict[str, Any] = json.loads(folder.read("result.json"))
    assert result["state"] == "SUCCEEDED"
