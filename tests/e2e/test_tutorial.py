"""docs/tutorial.md from an empty folder: its commands as they are written, one after the other."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ENOUGH_S, ROOT, Cli

TEXT = (ROOT / "docs" / "tutorial.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def commands() -> list[str]:
    lines = [line for block in blocks("console") for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def typed(work: Cli, command: str) -> str:
    """Run a command as in a shell, and return what it printed."""
    programs = Path(sys.executable).parent
    environment = {**work.environment, "PATH": f"{programs}:{work.environment['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=work.cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=3 * ENOUGH_S,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.release
def test_the_tutorial_does_what_it_says(rnnjob: Cli) -> None:
    (script,) = blocks("python")
    (rnnjob.cwd / "make_data.py").write_text(script)
    printed = {command: typed(rnnjob, command) for command in commands()}
    for name in ("moves.parquet", "job.yaml", "runs/first/report.html", "moves-model/model.py"):
        assert (rnnjob.cwd / name).exists(), name
    compared = printed["rnnjob compare lstm gru"]
    assert "model.cell" in compared and "noise" in compared
    predicted = printed["rnnjob predict first new.csv"].splitlines()
    wanted = [line.rstrip("}") for line in "".join(blocks("json")).splitlines()]
    assert [line[: len(start)] for line, start in zip(predicted, wanted, strict=True)] == wanted
