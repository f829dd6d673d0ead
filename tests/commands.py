"""Run one command of another program in a test, and show its output if it fails."""

import subprocess
from typing import Any

from tests.conftest import ENOUGH_S


def output_of(command: list[str], timeout: float = ENOUGH_S, **options: Any) -> str:
    """Return what a command prints to stdout. If it fails, the test fails with all it printed.

    `options`: further arguments of `subprocess.run`.
    """
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)
    assert done.returncode == 0, (
        f"{command} ended with exit code {done.returncode}\n{done.stdout}{done.stderr}"
    )
    return done.stdout
