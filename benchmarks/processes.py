"""Show which processes a job on Ray on this machine starts, when, and their CPU time.

    python benchmarks/processes.py                      # 2 workers, one epoch of the shipped digits
    python benchmarks/processes.py --workers 1          # other flags of rnnjob submit

CPU time is less disturbed by other work than the time on the clock. It is read ten times a second,
so that of processes that live shorter is missing.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

_POLL_S = 0.1
_JOB = ("--dataset", "mnist-sample", "--workers", "2", "--cpus-per-worker", "1", "--epochs", "1")
_IDLE = "ray::IDLE"
_MAX_NAME = 48


@dataclass
class Seen:
    """What is known of a process."""

    started_s: float
    """Seconds after the command."""
    cpu_s: float
    name: str


def main(arguments: list[str]) -> int:
    """Run a job, print a table, and return the job's exit code."""
    rnnjob = str(Path(sys.executable).with_name("rnnjob"))
    with tempfile.TemporaryDirectory(prefix="rnnjob-") as folder:
        command = [rnnjob, "submit", *_JOB, "--storage", folder, "-q", *arguments]
        begun = time.time()
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        seen: dict[int, Seen] = {}
        while process.poll() is None:
            look(process.pid, begun, seen)
            time.sleep(_POLL_S)
        wall_s = time.time() - begun
    print("| started after | CPU time | process |\n|---|---|---|")
    for each in sorted(seen.values(), key=lambda each: each.started_s):
        print(f"| {each.started_s:.1f} s | {each.cpu_s:.1f} s | {each.name} |")
    total_s = sum(each.cpu_s for each in seen.values())
    print(f"| | {total_s:.1f} s | {len(seen)} processes, in {wall_s:.1f} s |")
    return process.returncode


def look(pid: int, begun: float, seen: dict[int, Seen]) -> None:
    """Note the CPU time of a process and of all below it. Those that ended keep what they had."""
    with contextlib.suppress(psutil.Error):
        this = psutil.Process(pid)
        for each in [this, *this.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                used = each.cpu_times()
                name = name_of(each.cmdline())
                if pid_seen := seen.get(each.pid):
                    name = pid_seen.name if name == _IDLE or not name else name
                seen[each.pid] = Seen(each.create_time() - begun, used.user + used.system, name)


def name_of(words: list[str]) -> str:
    """Return what a command line runs: a title of Ray's, a module, or a program."""
    text = " ".join(words).strip()
    if text.startswith("ray::"):
        return text.split(".")[0][:_MAX_NAME].strip()
    if "-m" in words[:-1]:
        return words[words.index("-m") + 1]
    programs = [word for word in words if word.startswith("/") and not word.endswith("/python")]
    return Path(programs[0]).name[:_MAX_NAME] if programs else text[:_MAX_NAME]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
