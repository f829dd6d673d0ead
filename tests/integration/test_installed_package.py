"""The package as people install it: built, installed in a clean environment, and used there.

Nothing is downloaded. The environment has the packages that these tests have, but not the checkout.
"""

import json
import shutil
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import torch

from tests.commands import output_of
from tests.conftest import ROOT, Cli
from tests.integration.real_cluster import real_cluster

PACKAGES = ("orchestrator", "workers")
JOB = ("--dataset", "mnist-sample", "--epochs", "1", "--json", "--set", "model.hidden_size=8")
BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])('dist')"


def package_files(root: Path) -> set[str]:
    """Return the files of the packages below a folder, without what Python made of them."""
    return {
        path.relative_to(root).as_posix()
        for package in PACKAGES
        for path in (root / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is built from the source distribution, as an index would serve both."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE", *PACKAGES):
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source / name)
    output_of([sys.executable, "-c", BUILD, "build_sdist"], cwd=source)
    (sdist,) = (source / "dist").glob("*.tar.gz")
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    (folder,) = unpacked.iterdir()
    output_of([sys.executable, "-c", BUILD, "build_wheel"], cwd=folder)
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(
    wheel: Path, tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]
) -> Cli:
    """The `rnnjob` of a clean environment."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder / "venv", with_pip=False)
    python = str(folder / "venv" / "bin" / "python")
    (own,) = (folder / "venv" / "lib").glob("python*/site-packages")
    # A path in a .pth file is searched, but the .pth files there are not read: so the checkout,
    # which is installed in that folder as an editable package, is not found.
    (own / "dependencies.pth").write_text(f"{Path(torch.__file__).parents[1]}\n")
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    output_of([*install, "--ignore-installed", str(wheel)], cwd=folder)
    work = tmp_path_factory.mktemp("work")
    return Cli(work, environment, folder / "venv" / "bin" / "rnnjob")


def test_the_wheel_holds_each_file_of_the_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        info = {name.rpartition("/")[2] for name in archive.namelist() if ".dist-info/" in name}
    assert names == package_files(ROOT)
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert {"METADATA", "RECORD", "LICENSE", "entry_points.txt"} <= info


@pytest.mark.release
def test_it_trains_in_one_process_and_on_a_cluster_with_the_shipped_data(
    installed: Cli, tmp_path: Path
) -> None:
    python = installed.program.with_name("python")
    where = "import orchestrator, workers; print(orchestrator.__file__, workers.__file__)"
    printed = output_of([str(python), "-c", where], cwd=installed.cwd)
    assert all(path.startswith(str(python.parents[1])) for path in printed.split()), printed
    assert installed("--version").stdout.startswith("rnnjob, version ")
    local = installed("submit", "--local", *JOB)
    assert local.exit_code == 0, local.stderr
    # What pods are given: its requirements are in the metadata, as there is no pyproject.toml.
    code = "from orchestrator.cluster.kuberay.client_code import client_code as c; print(c().name)"
    assert output_of([str(python), "-c", code], cwd=installed.cwd).startswith(".code/")
    with real_cluster(installed, 1) as (cli, cluster):
        assert cluster["ray_version"]
        on_cluster = cli("submit", "--address", cluster["name"], "--workers", "1", *JOB)
        assert on_cluster.exit_code == 0, on_cluster.stderr
    assert on_cluster.json["weights_sha256"] == local.json["weights_sha256"] is not None


@pytest.mark.release
def test_it_trains_with_a_ray_of_its_own(installed: Cli) -> None:
    done = installed("submit", "--workers", "1", *JOB)
    assert done.exit_code == 0, done.stderr
    again = installed("reproduce", done.json["run_id"], "--local", "--json")
    assert again.exit_code == 0, again.stderr
    assert json.loads(again.stdout)["same"] is True
