"""Run the commands that are measured, each in a process and an empty folder of its own."""

import contextlib
import json
import os
import re
import secrets
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.runs.hardware import num_usable_cpus

ROOT = Path(__file__).parents[2]
LIMIT_S = 3600.0
_BIN = Path(sys.executable).parent
_STOP_S = 60.0
_TAIL_LINES = 60
_RANK = re.compile(r"^\[rank\d+\]: ?")
_EXCEPTION = re.compile(r"[A-Za-z_.]*(Error|Exception|Interrupt)\b.*: ")


class CommandError(Exception):
    """A command that is measured failed."""


@dataclass(frozen=True)
class Finished:
    """A command that ended well."""

    printed: dict[str, Any]
    """The JSON document that it printed."""
    folder: Path
    """The folder that was empty before."""
    started_at: float
    """In Unix seconds."""
    wall_s: float

    @property
    def run(self) -> Path:
        """The run folder, if it was a command of rnnjob."""
        return self.folder / "run"

    def records(self, kind: str) -> list[dict[str, Any]]:
        """Return the records of a kind in the metrics of the run."""
        lines = (self.run / "metrics.jsonl").read_text().splitlines()
        return [record for record in map(json.loads, lines) if record["kind"] == kind]


@dataclass
class Runner:
    """Runs commands with the same data and sizes."""

    scratch: Path
    data: Path
    sizes: Mapping[str, str | int | float]
    """What the commands name in braces, such as the seconds of a measurement."""
    reuse: bool = False
    """Whether a command that several rows need runs once for all of them."""
    _finished: dict[str, Finished] = field(default_factory=dict)

    def text(self, command: str, value: int) -> str:
        """Return the command as a person would type it, with names for the two folders."""
        cpus = num_usable_cpus()
        named = {"data": "DATA", "folder": "FOLDER", "n": value, "cpus": cpus}
        return command.format(**named, half=max(1, cpus // 2), **self.sizes)

    def run(self, command: str, value: int) -> Finished:
        """Run a command, with a value in the place of {n}. Raises CommandError."""
        text = self.text(command, value)
        if self.reuse and text in self._finished:
            return self._finished[text]
        folder = self.scratch / secrets.token_hex(4)
        folder.mkdir()
        places = {"DATA": str(self.data), "FOLDER": str(folder)}
        program, *arguments = (places.get(word, word) for word in shlex.split(text))
        program = sys.executable if program == "python" else str(_BIN / program)
        begun, started_at = time.perf_counter(), time.time()
        output = _output(text, [program, *arguments], folder)
        wall_s = time.perf_counter() - begun
        self._finished[text] = Finished(document(output), folder, started_at, wall_s)
        return self._finished[text]


def document(output: str) -> dict[str, Any]:
    """Return the JSON document that is all of an output, or its last line that is one.

    Lines may follow it: Ray prints its warnings on the stdout of a driver whenever they come.
    Raises CommandError if there is none.
    """
    starts = [output] if output.startswith("{\n") else reversed(output.splitlines())
    for text in starts:
        with contextlib.suppress(ValueError):
            content, _ = json.JSONDecoder().raw_decode(text)
            if isinstance(content, dict):
                return content
    raise CommandError(f"a command printed no JSON document, but: {output[-200:]!r}")


def _output(text: str, words: list[str], folder: Path) -> str:
    """Return what a command prints on stdout."""
    # Files instead of pipes: what a program leaves behind would keep a pipe open.
    stdout, stderr = folder / "stdout", folder / "stderr"
    with stdout.open("w") as out, stderr.open("w") as err:
        process = subprocess.Popen(
            words, cwd=ROOT, env=_environment(folder), stdin=subprocess.DEVNULL, stdout=out,
            stderr=err,
        )  # fmt: skip
        try:
            code = process.wait(LIMIT_S)
        except BaseException:
            process.terminate()
            process.wait(_STOP_S)
            raise
    if code:
        printed = stderr.read_text(errors="replace")
        print(*printed.splitlines()[-_TAIL_LINES:], sep="\n", file=sys.stderr, flush=True)
        raise CommandError(f"`{text}` ended with exit code {code}: {cause(printed)}")
    return stdout.read_text()


def cause(stderr: str) -> str:
    """Return the line of an output of errors that says most.

    It is the first exception at the left margin, behind what torchrun puts before the lines of its
    processes, or else the last line that has a letter: torchrun ends with a line of `=`.
    """
    lines = [_RANK.sub("", line) for line in stderr.splitlines()]
    for line in lines:
        if _EXCEPTION.match(line):
            return line
    return next((line for line in reversed(lines) if re.search("[a-z]", line)), "no error printed")


def _environment(folder: Path) -> dict[str, str]:
    """Return the environment of a command: no cluster but its own, and nothing in the home."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("RAY_") and name != "RNNJOB_STORAGE"
    }
    return {
        **kept,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_TMPDIR": str(folder),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
