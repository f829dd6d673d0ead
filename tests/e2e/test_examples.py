"""The examples with which each command's help ends, run as they are written, in one folder."""

import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.io import write_png

from tests.conftest import Cli
from tests.unit.cli.test_examples import examples
from tests.unit.cli.test_help import ALL
from tests.unit.datasets.idx_files import idx_bytes
from tests.unit.datasets.tables.made import rows, write

NOT_RUN = {
    "rnnjob stop": "needs a job that goes on",
    "rnnjob drill": "takes a minute, and has tests of its own",
    "rnnjob cluster": "Ray nodes have tests of their own",
    "rnnjob cluster up": "Ray nodes have tests of their own",
    "rnnjob cluster down": "Ray nodes have tests of their own",
    "rnnjob cluster status": "Ray nodes have tests of their own",
}
LAST = ("rnnjob reproduce", "rnnjob delete")
"""What other examples must not find as their newest run, or miss."""


@pytest.fixture(scope="module")
def work(module_rnnjob: Cli) -> Cli:
    """A folder with the files and the runs that the examples name."""
    folder = module_rnnjob.cwd
    write(folder / "rows.parquet", rows())
    (folder / "steps.csv").write_text("recording,t,x,gesture\na,1,0.5,up\na,2,0.7,up\nb,1,0,no\n")
    (folder / "wide.csv").write_text("x_1,x_2,gesture\n0.5,0.7,up\n0.1,0.2,no\n")
    np.savez(folder / "arrays.npz", x=np.ones((2, 3, 1), np.float32), y=np.arange(2))
    images = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)
    (folder / "images-idx3-ubyte").write_bytes(idx_bytes(images))
    (folder / "labels-idx1-ubyte").write_bytes(idx_bytes(np.array([0, 1], np.uint8)))
    digit = torch.zeros(1, 28, 28, dtype=torch.uint8)
    digit[0, 4:24, 13:16] = 255
    write_png(digit, str(folder / "digit.png"))
    for cell in ("gru", "lstm"):
        done = module_rnnjob(
            "submit", "--local", "--dataset", "mnist-sample", "--run-id", cell,
            "--set", f"model.cell={cell}", "--set", "training.steps=8",
        )  # fmt: skip
        assert done.exit_code == 0, done.stderr
    return module_rnnjob


def runnable() -> list[str]:
    paths = [path for path in ALL if path not in NOT_RUN]
    paths.sort(key=lambda path: path in LAST)
    return list(dict.fromkeys(line for path in paths for line in examples(ALL[path])))


@pytest.mark.release
def test_the_examples_do_what_they_say(work: Cli) -> None:
    for line in runnable():
        done = work(*shlex.split(line)[1:])
        assert done.exit_code == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    assert (work.cwd / "job.yaml").exists() and (work.cwd / "bundle").is_dir()
    assert not (Path(work.cwd) / "runs" / "lstm" / "stop.json").exists()
