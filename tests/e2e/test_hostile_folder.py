"""Run folders that a stranger wrote, passed through every command that takes a run.

No command shows a traceback, waits for ever, takes much memory, connects to anything, or reads or
writes outside of the run folder; and a run with a good checkpoint goes on from it.
"""

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ENOUGH_S, RNNJOB, Cli, Finished

pytestmark = pytest.mark.slow
MAX_BYTES = 2 * 2**30
HUGE = 3 * 2**30
SECRET = "what is mine"
JOB = (
    "--local", "--dataset", "mnist-sample", "--epochs", "2", "--precision", "fp32",
    "--set", "checkpoint.every_steps=1", "--set", "checkpoint.keep_latest=9",
)  # fmt: skip
DOCUMENTS = ("result.json", "provenance.json", "stop.json")
ODD_NAMES = (b"\xff", b"{0.__class__}%s%n", b"-rf", b"$(touch x)")


class Mine:
    """A folder beside the storage that no command may read or change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("checkpoints/step-00000009/manifest.json", "logs/driver.log", "file"):
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text(SECRET)
        self._before = self._content()

    def _content(self) -> dict[str, bytes | None]:
        return {
            str(path.relative_to(self.path)): path.read_bytes() if path.is_file() else None
            for path in self.path.rglob("*")
        }

    @property
    def is_unchanged(self) -> bool:
        return self._content() == self._before


# What a stranger does to a run folder.


def sparse(file: Path, size: int = HUGE, head: bytes = b"") -> None:
    file.unlink(missing_ok=True)
    with open(file, "wb") as opened:
        opened.write(head)
        opened.truncate(size)


def pipe(file: Path) -> None:
    file.unlink(missing_ok=True)
    os.mkfifo(file)


def link(path: Path, target: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def checkpoints(run: Path) -> list[Path]:
    return sorted((run / "checkpoints").glob("step-*"))


def stored(checkpoint: Path, name: str) -> Path:
    """Return a file of a checkpoint, which has another name if the step was saved twice."""
    generation = json.loads((checkpoint / "manifest.json").read_bytes()).get("generation")
    return checkpoint / (f"{generation}.{name}" if generation else name)


def misfit(checkpoint: Path) -> None:
    """Leave a checkpoint whose hashes are right and whose tensors are those of nothing."""
    header = json.dumps({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    data = len(header).to_bytes(8, "little") + header + bytes(4)
    stored(checkpoint, "model.safetensors").write_bytes(data)
    manifest = json.loads((checkpoint / "manifest.json").read_bytes())
    manifest["sha256"]["model.safetensors"] = hashlib.sha256(data).hexdigest()
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))


def terabytes(checkpoint: Path) -> None:
    """Leave a sparse model whose header declares terabytes."""
    shape = {"dtype": "F32", "shape": [2**20, 2**20], "data_offsets": [0, 2**42]}
    header = json.dumps({"head.weight": shape}).encode()
    sparse(stored(checkpoint, "model.safetensors"), head=len(header).to_bytes(8, "little") + header)


def long_line(file: Path) -> None:
    """Put a line of a gigabyte before the content of a file."""
    content = file.read_bytes() if file.exists() else b""
    sparse(file, 2**30)
    with open(file, "ab") as opened:
        opened.write(b"\n" + content)


def unfold(file: Path) -> None:
    """Leave a small JSON file that unfolds to some gigabytes."""
    file.write_bytes(b'{"x": [' + b"{}," * 20_000_000 + b"{}]}")


def make_huge(run: Path, mine: Mine) -> None:
    for name in ("provenance.json", "stop.json"):
        sparse(run / name)
    unfold(run / "result.json")
    (run / "logs").mkdir(exist_ok=True)
    sparse(run / "logs" / "driver.log")
    long_line(run / "metrics.jsonl")
    terabytes(checkpoints(run)[-1])


def make_pipes(run: Path, mine: Mine) -> None:
    (run / "logs").mkdir(exist_ok=True)
    for name in (*DOCUMENTS, "logs/driver.log", "model.safetensors"):
        pipe(run / name)
    pipe(stored(checkpoints(run)[-2], "state.json"))
    pipe(checkpoints(run)[-1] / "manifest.json")


def make_links(run: Path, mine: Mine) -> None:
    for name in ("checkpoints", "logs", "tensorboard", ".ray-train"):
        link(run / name, mine.path / name)
    for name in DOCUMENTS:
        link(run / name, mine.path / "file")


def make_all(run: Path, mine: Mine) -> None:
    """All in one, but for what makes the folder none of a run."""
    misfit(checkpoints(run)[-1])
    terabytes(checkpoints(run)[-2])
    pipe(stored(checkpoints(run)[-3], "optimizer.safetensors"))
    link(run / "checkpoints" / "step-00000099", mine.path / "checkpoints")
    long_line(run / "metrics.jsonl")
    unfold(run / "provenance.json")
    pipe(run / "stop.json")
    link(run / "result.json", mine.path / "file")
    link(run / "report.html", mine.path / "file")
    (run / "logs").mkdir(exist_ok=True)
    sparse(run / "logs" / "driver.log")
    pipe(run / "logs" / "worker-0.log")
    link(run / "logs" / "worker-1.log", mine.path / "file")
    link(run / "mine", mine.path)
    link(run / "around", run)
    for name in ODD_NAMES:
        for folder in (run, run / "logs", run / "checkpoints"):
            os.close(os.open(os.fsencode(folder) + b"/" + name, os.O_CREAT))


def make_unreadable_metrics(run: Path, mine: Mine) -> None:
    pipe(run / "metrics.jsonl")


def make_unreadable_failures(run: Path, mine: Mine) -> None:
    long_line(run / "failures.jsonl")


def make_unreadable_spec(run: Path, mine: Mine) -> None:
    sparse(run / "job.yaml")


def status_is(harm: Callable[[Path], None]) -> Callable[[Path, Mine], None]:
    return lambda run, mine: harm(run / "status.json")


def make_linked_status(run: Path, mine: Mine) -> None:
    link(run / "status.json", mine.path / "file")


RUNS: dict[str, Callable[[Path, Mine], None]] = {
    "all": make_all,
    "huge": make_huge,
    "pipes": make_pipes,
    "links": make_links,
    "metrics": make_unreadable_metrics,
    "failures": make_unreadable_failures,
    "spec": make_unreadable_spec,
    "s-pipe": status_is(pipe),
    "s-huge": status_is(sparse),
    "s-link": make_linked_status,
}
NO_RUN = ("s-pipe", "s-huge", "s-link")
"""Folders without a status that is read: they hold no run."""


@pytest.fixture(scope="module")
def base(module_rnnjob: Cli) -> Path:
    """A run that stopped after some steps, in a storage of its own."""
    job = (*JOB, "--storage", "base", "--run-id", "base", "--set", "limits.steps=6")
    assert module_rnnjob("submit", *job).exit_code == 5
    run = module_rnnjob.cwd / "base" / "base"
    assert len(checkpoints(run)) > 3
    return run


@pytest.fixture(scope="module")
def weights(module_rnnjob: Cli) -> str:
    done = module_rnnjob("submit", *JOB, "--storage", "base", "--run-id", "whole", "--json")
    return str(done.json["weights_sha256"])


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A port on which nobody should call."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.fixture
def mine(tmp_path: Path) -> Mine:
    return Mine(tmp_path / "mine")


@pytest.fixture
def hostile(rnnjob: Cli, base: Path, mine: Mine, listener: socket.socket) -> Cli:
    """A storage that is a link, with all of these runs, and one that names a cluster."""
    (rnnjob.cwd / "disk").mkdir()
    (rnnjob.cwd / "runs").symlink_to("disk")
    for name in ("afar", *RUNS):
        shutil.copytree(base, rnnjob.cwd / "disk" / name)
    for name, harm in RUNS.items():
        harm(rnnjob.cwd / "disk" / name, mine)
    status = json.loads((base / "status.json").read_bytes())
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    status |= {"mode": "cluster", "state": "RUNNING", "address": address, "ended_at": None}
    (rnnjob.cwd / "disk" / "afar" / "status.json").write_text(json.dumps(status))
    return rnnjob


def run_measured(cli: Cli, *words: str) -> Finished:
    """Run a command, and check what holds for each: its memory, its time, its last words."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            [str(RNNJOB), *words],
            cwd=cli.cwd,
            env=cli.environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        timer = threading.Timer(ENOUGH_S, os.killpg, (process.pid, signal.SIGKILL))
        timer.start()
        _, code, usage = os.wait4(process.pid, 0)
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(code)
        texts = [_text(file) for file in (out, err)]
    done = Finished(process.returncode, *texts)
    assert usage.ru_maxrss * 1024 < MAX_BYTES, (words, usage.ru_maxrss)
    assert done.exit_code in (0, 1, 2, 4, 5, 124), (words, done)
    assert "Traceback" not in done.stdout + done.stderr, (words, done)
    assert SECRET not in done.stdout + done.stderr, (words, done)
    if done.exit_code:
        assert "Error: " in done.stderr and "Try: " in done.stderr, (words, done)
    return done


def _text(file: Any) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


LOOKS = [
    ("status",), ("status", "--json"), ("show",), ("show", "--json"), ("describe",),
    ("describe", "--json"), ("logs",), ("logs", "-f"), ("why",), ("wait", "--timeout", "1ms"),
    ("compare", "afar"), ("report",), ("explain",),
]  # fmt: skip


def test_a_bad_run_hides_no_other_from_the_list(hostile: Cli, mine: Mine) -> None:
    for words in (("list", "--all", "--json"), ("list", "--all"), ("list", "-q", "--all")):
        done = run_measured(hostile, *words)
        shown = {name for name in ("afar", *RUNS) if name in done.stdout}
        assert shown == {"afar", *RUNS} - set(NO_RUN)
    assert mine.is_unchanged


@pytest.mark.parametrize("name", ["afar", *RUNS])
def test_every_command_that_looks_answers(
    hostile: Cli, mine: Mine, listener: socket.socket, name: str
) -> None:
    for verb, *more in LOOKS:
        if name == "afar" and more == ["-f"]:
            continue  # it would follow the run for as long as its record says that it goes on
        done = run_measured(hostile, verb, name, *more)
        if name in NO_RUN:
            assert done.exit_code == 4 and "status.json" in done.cause
        elif verb == "status":
            assert done.exit_code == 0
    assert mine.is_unchanged
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.parametrize("name", ["all", "huge", "pipes"])
def test_a_run_goes_on_from_the_checkpoint_that_is_good(
    hostile: Cli, mine: Mine, weights: str, name: str
) -> None:
    done = run_measured(hostile, "resume", name, "--local", "--json")
    assert (done.exit_code, done.json["weights_sha256"]) == (0, weights)
    assert "skipping a damaged checkpoint" in done.stderr
    assert run_measured(hostile, "show", name).exit_code == 0
    assert mine.is_unchanged


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("links", "leads out of"),
        ("metrics", "metrics.jsonl is a named pipe, not a file"),
        ("failures", "failures.jsonl has 1,073,741,825 bytes"),
        ("spec", "job.yaml has 3,221,225,472 bytes"),
        *[(name, "status.json") for name in NO_RUN],
    ],
)
def test_a_run_that_cannot_go_on_says_why(hostile: Cli, mine: Mine, name: str, cause: str) -> None:
    ways = (
        ("resume", name, "--local"),
        ("submit", "--resume", name),
        ("resume", name, "-q", "--workers", "1"),
    )
    for words in ways:
        done = run_measured(hostile, *words)
        assert done.exit_code == (4 if name in NO_RUN else 1)
        assert cause in done.stderr
    assert mine.is_unchanged


def test_a_run_is_reproduced_from_its_records_alone(hostile: Cli, mine: Mine) -> None:
    for name in ("all", "links"):
        done = run_measured(hostile, "reproduce", name, "--steps", "1")
        assert done.exit_code == 0 and done.stdout.startswith("same: 1 step")
    for name in ("metrics", "spec", *NO_RUN):
        assert run_measured(hostile, "reproduce", name).exit_code in (1, 4)
    assert mine.is_unchanged


def test_a_run_is_stopped_or_deleted_within_its_folder(hostile: Cli, mine: Mine) -> None:
    disk = hostile.cwd / "disk"
    for name in RUNS:
        assert run_measured(hostile, "stop", name).exit_code == (4 if name in NO_RUN else 2)
    for name in RUNS:
        done = run_measured(hostile, "delete", name, "--yes")
        assert done.exit_code == (4 if name in NO_RUN else 0)
        assert (disk / name).exists() == (name in NO_RUN)
    assert mine.is_unchanged
    assert sorted(path.name for path in disk.iterdir()) == sorted(["afar", *NO_RUN])
