"""Disasters of the storage of a job in one process."""

import contextlib
import logging
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from moto.server import ThreadedMotoServer

from benchmarks.matrix.place import JOB, LONG, RUN, Place, kill, running, wait_for
from tests.integration.faulty_proxy import SLOW, FaultyProxy, Outage

_FOR_EVER_S = 1e6
_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def _small_disk(place: Place, megabytes: int) -> Iterator[Path]:
    """Mount a file system of its own as the storage of the runs."""
    storage = place.folder / "runs"
    storage.mkdir()
    size = f"size={megabytes}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", storage], check=True)
    try:
        yield storage
    finally:
        subprocess.run(["umount", "-l", storage], check=True)


@contextmanager
def full(place: Place) -> Iterator[Place]:
    with _small_disk(place, 8) as storage, running(place, "--local", *LONG) as process:
        with contextlib.suppress(OSError), (storage / "filler").open("wb") as file:
            while True:
                file.write(b"0" * 65536)
                file.flush()
        process.wait()
        yield place


@contextmanager
def read_only(place: Place) -> Iterator[Place]:
    with _small_disk(place, 64) as storage, running(place, "--local", *LONG) as process:
        kill(process)
        subprocess.run(["mount", "-o", "remount,ro", storage], check=True)
        yield place


@contextmanager
def slow(place: Place) -> Iterator[Place]:
    with _on_s3(place, SLOW) as (there, _):
        yield there


@contextmanager
def gone(place: Place) -> Iterator[Place]:
    with _on_s3(place, "close") as (there, process):
        process.wait()
        yield there


@contextmanager
def _on_s3(place: Place, fault: str) -> Iterator[tuple[Place, "subprocess.Popen[str]"]]:
    """Start a job whose storage is an S3 server that fails once the job trains."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    plan = [Outage(fault, after=0, seconds=_FOR_EVER_S)]
    try:
        with FaultyProxy(server.get_host_and_port()[1], plan, trigger="no such path") as proxy:
            uri = (
                f"s3://bucket/runs?endpoint_override=127.0.0.1:{proxy.port}&scheme=http"
                "&allow_bucket_creation=true&region=us-east-1"
            )
            there = replace(place, more={**_CREDENTIALS, "RNNJOB_STORAGE": uri})
            process = there.start(*JOB, "--local", *LONG, "--run-id", RUN)
            wait_for(lambda: there.run("status", RUN, "--json").json.get("started_at"))
            proxy.begin()
            yield there, process
            process.kill()
            process.communicate()
    finally:
        server.stop()
