"""A model of the user's own on a cluster of real Ray nodes, and packages that Ray installs."""

import base64
import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, Cli
from tests.integration.real_cluster import real_cluster

JOB = [
    "submit", "--json", "--dataset", "mnist-sample", "--batch-size", "125", "--precision", "fp32",
    "--set", "dataset.num_shards=5", "--set", "training.steps=12",
    "--model", "net.py:ConvGru", "--set", "model.init_args={hidden: 16, dropout: 0.2}",
]  # fmt: skip
EXAMPLE = ROOT / "examples" / "conv_gru.py"

pytestmark = pytest.mark.release


@pytest.fixture(scope="module")
def cli(module_rnnjob: Cli) -> Iterator[Cli]:
    shutil.copy(EXAMPLE, module_rnnjob.cwd / "net.py")
    with real_cluster(module_rnnjob, 2) as (cli, _):
        yield cli


def test_a_cluster_gives_the_weights_of_one_process_though_the_file_has_changed(cli: Cli) -> None:
    alone = cli(*JOB, "--local")
    assert alone.exit_code == 0, alone.stderr
    detached = cli(*JOB, "--address", "local", "--workers", "2", "-d", "--run-id", "there")
    assert detached.exit_code == 0, detached.stderr
    (cli.cwd / "net.py").write_text("raise SystemExit('another file by now')\n")
    try:
        done = cli("wait", "there", "--json")
    finally:
        shutil.copy(EXAMPLE, cli.cwd / "net.py")
    assert done.exit_code == 0, done.stderr
    assert done.json["weights_sha256"] == alone.json["weights_sha256"]


def test_the_driver_refuses_a_model_before_it_asks_for_workers(cli: Cli) -> None:
    (cli.cwd / "net.py").write_text("import no_such_package\n")
    try:
        done = cli(*JOB, "--address", "local", "--workers", "2", "--run-id", "refused")
    finally:
        shutil.copy(EXAMPLE, cli.cwd / "net.py")
    assert done.exit_code == 2
    assert "net.py:1 imports the package no_such_package" in done.stderr
    assert "--set 'env.pip=[no_such_package]'" in done.stderr
    status = json.loads((cli.cwd / "runs" / "refused" / "status.json").read_text())
    assert status["state"] == "FAILED" and not status["workers"]


def test_a_dry_run_shows_the_packages_that_ray_will_install(cli: Cli) -> None:
    done = cli(*JOB, "--address", "local", "--dry-run", "--set", "env.pip=[einops==0.8.1]")
    assert done.exit_code == 0, done.stderr
    assert done.json["plan"]["request"]["runtime_env"]["pip"] == ["einops==0.8.1"]


@pytest.mark.parametrize("mode", [["--address", "local"], []], ids=["cluster", "ray-here"])
def test_ray_installs_what_the_model_needs(cli: Cli, mode: list[str]) -> None:
    wheel = _wheel(cli.cwd / "rnnjob_test_package-1.0-py3-none-any.whl")
    text = EXAMPLE.read_text().replace(
        "import torch\n", "import rnnjob_test_package\nimport torch\n"
    )
    (cli.cwd / "net.py").write_text(text)
    try:
        here = cli(*JOB, "--local")
        assert "imports the package rnnjob_test_package" in here.cause
        done = cli(*JOB, *mode, "--workers", "2", "--set", f"env.pip=['{wheel}']")
    finally:
        shutil.copy(EXAMPLE, cli.cwd / "net.py")
    assert done.exit_code == 0, done.stderr
    assert done.json["weights_sha256"]


def _wheel(path: Path) -> Path:
    """Write a wheel of one empty module, for which pip needs no index."""
    name, info = "rnnjob_test_package", "rnnjob_test_package-1.0.dist-info"
    files = {
        f"{name}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = [f"{file},sha256={_digest(text)},{len(text)}" for file, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,"]) + "\n"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return path


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
