"""The benchmark kills the command, but its driver may complete the work all the same."""

import random
import sys
from pathlib import Path

import pytest

from benchmarks import predict_million

DRIVER = """
import os, pathlib, sys, time
client = os.getppid()
while os.getppid() == client:
    time.sleep(0.05)
time.sleep(0.5)
pathlib.Path(sys.argv[1]).write_text("")
"""


def command(folder: Path, last: str) -> str:
    """Return a program that completes one part and waits; its driver writes `last` after that."""
    program = folder / "command"
    program.write_text(
        f"#!{sys.executable}\n"
        "import pathlib, subprocess, sys, time\n"
        'pathlib.Path("out.partial").mkdir(exist_ok=True)\n'
        f"words = ['-c', {DRIVER!r}, {last!r}]\n"
        "subprocess.Popen([sys.executable, *words], start_new_session=True)\n"
        'pathlib.Path("out.partial/part-0").write_text("")\n'
        "time.sleep(60)\n"
    )
    program.chmod(0o700)
    return str(program)


@pytest.mark.parametrize(("last", "found"), [("out.partial/part-1", 2), ("out", 3)])
def test_what_the_driver_still_completes_counts(
    last: str, found: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(predict_million, "RNNJOB", command(tmp_path, last))
    assert predict_million.kill_once(random.Random(0), "out", num_parts=3) == found
    assert Path("out.partial").exists() != Path("out").exists()
