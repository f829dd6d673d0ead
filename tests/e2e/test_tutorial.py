"""docs/tutorial.md and docs/recurrent.md from an empty folder: their commands as they are written,
one after the other."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ENOUGH_S, ROOT, Cli

DOCS = ROOT / "docs"
TEXT = (DOCS / "tutorial.md").read_text()


def blocks(language: str, text: str = TEXT) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(text: str = TEXT) -> list[str]:
    lines = [line for block in blocks("console", text) for line in block.splitlines()]
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


@pytest.mark.release
def test_the_pictures_of_recurrent_networks_come_from_the_commands_below_them(rnnjob: Cli) -> None:
    text = (DOCS / "recurrent.md").read_text()
    for command in commands(text):
        typed(rnnjob, command)
    for picture in re.findall(r"\(pictures/([^)]+)\)", text):
        made, kept = (rnnjob.cwd / picture).read_text(), (DOCS / "pictures" / picture).read_text()
        assert words_in(made) == words_in(kept), picture


def words_in(picture: str) -> list[str]:
    """Return title, legend and labels. Numbers differ a little between CPUs."""
    return re.findall(r"<(?:text|title)[^>]*>([^<]*[a-z]{2}[^<]*)<", picture)
