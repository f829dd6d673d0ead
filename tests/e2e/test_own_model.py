"""A model of the user's own, from a file and a package: the same weights wherever it trains."""

import random
import shutil
import signal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import ROOT, Cli, wait_for
from workers.records.run_folder import RunFolder

JOB = [
    "submit", "--json", "--dataset", "mnist-sample", "--batch-size", "125", "--precision", "fp32",
    "--set", "dataset.num_shards=5", "--set", "training.steps=24", "--set", "augment.shift_px=1",
]  # fmt: skip
MODEL = ["--model", "net.py:ConvGru", "--set", "model.init_args={hidden: 16, dropout: 0.2}"]


@pytest.fixture(scope="module")
def cli(module_rnnjob: Cli) -> Cli:
    """Commands in a folder with the example as net.py."""
    shutil.copy(ROOT / "examples" / "conv_gru.py", module_rnnjob.cwd / "net.py")
    return module_rnnjob


@pytest.fixture(scope="module")
def local(cli: Cli) -> dict[str, Any]:
    """The result of one process without Ray."""
    done = cli(*JOB, *MODEL, "--local", "--run-id", "local")
    assert done.exit_code == 0, done.stderr
    result: dict[str, Any] = done.json
    return result


def test_the_parameters_keep_their_names_and_the_run_has_the_code(
    cli: Cli, local: dict[str, Any]
) -> None:
    from safetensors import safe_open

    folder = cli.cwd / "runs" / "local"
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert {"convolution.weight", "gru.weight_hh_l0", "head.bias"} <= set(file.keys())
    code = folder / "model_code" / "net.py"
    assert code.read_bytes() == (ROOT / "examples" / "conv_gru.py").read_bytes()


@pytest.mark.parametrize(
    "workers", [*(pytest.param(n, marks=pytest.mark.release) for n in (1, 2)), 3]
)
def test_any_number_of_workers_gives_the_weights_of_one_process(
    cli: Cli, local: dict[str, Any], workers: int, no_process_left: None
) -> None:
    done = cli(*JOB, *MODEL, "--workers", str(workers))
    assert done.exit_code == 0, done.stderr
    assert done.json["weights_sha256"] == local["weights_sha256"]


def test_a_killed_run_goes_on_elsewhere_with_the_code_that_it_began_with(
    cli: Cli, local: dict[str, Any], no_process_left: None
) -> None:
    cadence = ["--checkpoint-every", "3", "--run-id", "killed"]
    process = cli.start(*JOB, *MODEL, *cadence, "--local")
    run = RunFolder.at(str(cli.cwd / "runs" / "killed"))
    wait_for(lambda: any(record["step"] >= 6 for record in run.read_metrics()))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    original = cli.cwd / "net.py"
    before = original.read_bytes()
    original.write_text("raise SystemExit('this is another file by now')\n")
    try:
        done = cli("resume", "killed", "--workers", "2", "--json")
        assert done.exit_code == 0, done.stderr
        assert done.json["weights_sha256"] == local["weights_sha256"]
        again = cli("reproduce", "killed", "--json", "--steps", "3")
        assert again.exit_code == 0 and again.json["same"], again.stderr
    finally:
        original.write_bytes(before)


def test_code_that_was_changed_in_the_run_folder_is_refused(
    cli: Cli, local: dict[str, Any]
) -> None:
    folder = cli.cwd / "runs" / "damaged"
    shutil.copytree(cli.cwd / "runs" / "local", folder)
    with open(folder / "model_code" / "net.py", "a") as file:
        file.write("# one more line\n")
    done = cli("reproduce", "damaged")
    assert done.exit_code == 1
    assert "it was changed" in done.cause and "restore it from a copy" in done.cure


@pytest.mark.release
def test_a_package_is_trained_from_its_folder(cli: Cli, local: dict[str, Any]) -> None:
    package = cli.cwd / "shapes" / "of"
    package.mkdir(parents=True)
    (cli.cwd / "shapes" / "__init__.py").touch()
    shutil.copy(ROOT / "examples" / "conv_gru.py", package / "models.py")
    (package / "main.py").write_text(
        "from shapes.of.models import ConvGru\n"
        "def make(**sizes):\n"
        "    return ConvGru(28, 10, **sizes)\n"
    )
    same = ["--model", "shapes.of.main:make", *MODEL[2:]]
    done = cli(*JOB, *same, "--workers", "2", "--run-id", "package")
    assert done.exit_code == 0, done.stderr
    assert done.json["weights_sha256"] == local["weights_sha256"]
    assert (cli.cwd / "runs" / "package" / "model_code" / "shapes" / "of" / "models.py").exists()


@pytest.mark.release
def test_sequences_of_many_lengths_have_one_result(rnnjob: Cli) -> None:
    shutil.copy(ROOT / "examples" / "conv_gru.py", rnnjob.cwd / "net.py")
    generator = random.Random(0)
    rows = []
    for _ in range(240):
        label = generator.choice(["rising", "falling"])
        slope = 0.2 if label == "rising" else -0.2
        length = generator.randint(3, 30)
        rows.append(([[slope * t, generator.gauss(0, 1)] for t in range(length)], label))
    signals, labels = zip(*rows, strict=True)
    table = pa.table({"signal": list(signals), "label": list(labels)})
    pq.write_table(table, rnnjob.cwd / "signals.parquet")
    job = [
        "submit", "--json", "--dataset", "parquet:signals.parquet", *MODEL, "--epochs", "2",
        "--batch-size", "32", "--precision", "fp32", "--set", "dataset.num_shards=4",
    ]  # fmt: skip
    alone = rnnjob(*job, "--local")
    assert alone.exit_code == 0, alone.stderr
    assert alone.json["test_accuracy"] > 0.8
    together = rnnjob(*job, "--workers", "2")
    assert together.exit_code == 0, together.stderr
    assert together.json["weights_sha256"] == alone.json["weights_sha256"]


BAD = {
    "syntax.py": ("def make(:\n", "syntax.py:1: SyntaxError"),
    "cuda.py": ("import torch\ntorch.zeros(1).to('cuda:0')\n", "cuda.py:2: "),
    "package.py": ("import no_such_package\n", "imports the package no_such_package"),
    "wide.py": (
        "from torch import nn\n"
        "def make(num_features, num_outputs, max_length):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(num_features * max_length, 11))\n",
        "the shape (4, 11), not (4, 10)",
    ),
    "norm.py": (
        "from torch import nn\n"
        "def make(num_features, num_outputs, max_length):\n"
        "    size = num_features * max_length\n"
        "    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(size), nn.Linear(size, 10))\n",
        "changes the buffer 1.running_mean",
    ),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize(
    "mode",
    [
        pytest.param(["--local"], id="local"),
        pytest.param(["--workers", "2"], id="ray", marks=pytest.mark.release),
    ],
)
def test_a_model_that_cannot_be_trained_leaves_no_run(
    rnnjob: Cli, name: str, mode: list[str]
) -> None:
    text, cause = BAD[name]
    (rnnjob.cwd / name).write_text(text)
    done = rnnjob(*JOB, "--model", f"{name}:make", *mode)
    assert done.exit_code == 2
    assert cause in done.cause and done.cure
    assert not (rnnjob.cwd / "runs").exists()


def test_a_warning_reaches_the_user(rnnjob: Cli) -> None:
    text = (ROOT / "examples" / "conv_gru.py").read_text()
    text = text.replace("self.head = ", "self.unused = nn.Linear(1, 1)\n        self.head = ")
    Path(rnnjob.cwd / "net.py").write_text(text)
    done = rnnjob(*JOB, "--model", "net.py:ConvGru", "--local", "--set", "training.steps=2")
    assert done.exit_code == 0
    assert "warning: the model's parameter unused.weight and 1 more" in done.stderr
