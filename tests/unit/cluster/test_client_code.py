"""The wheel of this client's own code, and the program with which a pod fetches and starts it."""

import json
import os
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator import __version__, runs
from orchestrator.cluster.kuberay import client_code as module
from orchestrator.cluster.kuberay.client_code import ClientCode, client_code, publish
from orchestrator.cluster.kuberay.manifest import Manifest
from tests.commands import output_of
from tests.conftest import ENOUGH_S
from tests.unit.cluster.exported_code import exported, with_file
from workers.errors import InputError, StorageError
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage

SUPERVISOR = "orchestrator/driver/supervisor.py"
STUB = """
import json, os, subprocess, sys
import workers
def main(uri):
    child = [sys.executable, "-c", "import orchestrator; print(orchestrator.__file__)"]
    done = subprocess.run(child, capture_output=True, text=True)
    print(json.dumps([uri, workers.__file__, done.stdout.strip(), os.environ["RNNJOB_CODE_DIR"]]))
    return 7
"""


def install(code: ClientCode, folder: Path) -> Path:
    """Have pip install the wheel into a folder of its own, without an index."""
    file = folder / Path(code.name).name
    file.write_bytes(code.wheel)
    target = folder / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target"]
    output_of([*pip, str(target), str(file)])
    return target


def python_with(folder: Path, program: str) -> str:
    """Run a program that finds the packages of a folder first, and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", program]
    return output_of(command, cwd=folder.parent, env=environment).strip()


def test_pip_installs_the_wheel_without_an_index_and_it_works(tmp_path: Path) -> None:
    installed = install(client_code(), tmp_path)
    places = python_with(
        installed,
        "import orchestrator, workers, orchestrator.cli, importlib.metadata as m\n"
        "from orchestrator.datasets.sources import find_source\n"
        "find_source('mnist-sample', None, None).read()\n"
        "print(orchestrator.__file__, workers.__file__, m.version('rnnjob'))",
    )
    assert places == f"{installed}/orchestrator/__init__.py {installed}/workers/__init__.py " + (
        __version__
    )


def test_two_builds_have_equal_bytes_from_a_checkout_and_from_an_installation(
    tmp_path: Path,
) -> None:
    code = client_code()
    assert client_code() == code
    installed = install(code, tmp_path)
    for stray in (".env", "id_rsa", "notes.txt", ".ipynb_checkpoints/a.py", "__pycache__/a.pyc"):
        file = installed / "orchestrator" / stray
        file.parent.mkdir(exist_ok=True)
        file.write_text("stays at home")
    again = (
        "from orchestrator.cluster.kuberay.client_code import client_code\n"
        "print(client_code().sha256)"
    )
    assert python_with(installed, again) == code.sha256


def test_the_requirements_are_those_of_rnnjob_without_ray_in_the_versions_of_this_client() -> None:
    names = [requirement.partition("==")[0] for requirement in client_code().requirements]
    assert {"torch", "pyarrow", "pydantic", "numpy"} <= set(names)
    assert not {"rnnjob", "ray", "pytest"} & set(names)
    for requirement in client_code().requirements:
        name, _, version = requirement.partition("==")
        assert metadata.version(name).partition("+")[0] == version


def test_a_requirement_that_is_not_installed_here_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "declared", lambda: (">=3.10", ("no-such-package>=1",)))
    with pytest.raises(InputError, match="no-such-package is not installed here") as refused:
        client_code()
    assert "--image" in refused.value.cure


def test_the_code_is_not_put_where_no_volume_is_mounted(tmp_path: Path) -> None:
    mount = tmp_path / "mnt"
    with pytest.raises(InputError, match="not mounted on this machine") as refused:
        publish(client_code(), Storage(str(mount / "runs")), [mount])
    assert "--image" in refused.value.cure and "--storage" in refused.value.cure
    assert not mount.exists()


def test_a_storage_that_this_machine_cannot_write_is_refused_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file in the way")
    with pytest.raises(StorageError, match="cannot write") as refused:
        publish(client_code(), Storage(str(tmp_path / "runs")), [tmp_path])
    assert "--image" in refused.value.cure and "--storage" in refused.value.cure


def run_in_a_pod(manifest: Manifest, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run the manifest's entrypoint as KubeRay and Ray do.

    KubeRay passes the line through a shell, `ray job submit` quotes its words, and Ray passes them
    through another shell.
    """
    (folder / "tmp").mkdir()
    environment = yaml.safe_load(manifest["spec"]["runtimeEnvYAML"])["env_vars"]
    variables = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", **environment}
    words = ["bash", "-c", f'printf "%s\\n" {manifest["spec"]["entrypoint"]}']
    return subprocess.run(
        shlex.join(output_of(words).splitlines()),
        shell=True,
        cwd=folder / "tmp",
        env={**variables, "TMPDIR": str(folder / "tmp")},
        capture_output=True,
        text=True,
        timeout=ENOUGH_S,
    )


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_pod_runs_the_published_code_and_so_do_its_children(tmp_path: Path, scheme: str) -> None:
    code = with_file(client_code(), SUPERVISOR, STUB)
    manifest = exported(code, f"{scheme}{tmp_path}/runs", tmp_path)
    done = run_in_a_pod(manifest, tmp_path)
    assert done.returncode == 7, done.stderr
    uri, workers, orchestrator, code_dir = json.loads(done.stdout)
    assert Path(code_dir).parent == tmp_path / "tmp"
    assert workers == f"{code_dir}/workers/__init__.py"
    assert orchestrator == f"{code_dir}/orchestrator/__init__.py"
    run = RunFolder.at(uri)
    assert run.storage.local_path == tmp_path / "runs" / "first"
    assert runs.read_status(run).mode == "kuberay"


def test_a_tampered_wheel_is_refused_before_any_of_its_code_runs(tmp_path: Path) -> None:
    code = client_code()
    manifest = exported(code, f"{tmp_path}/runs", tmp_path)
    mark = f"open({str(tmp_path / 'ran')!r}, 'w')\n"
    tampered = with_file(code, "orchestrator/__init__.py", mark)
    Storage(f"{tmp_path}/runs").write(code.name, tampered.wheel)
    done = run_in_a_pod(manifest, tmp_path)
    assert done.returncode == 2
    cause, cure = done.stderr.splitlines()
    assert cause.startswith("Error: the code in ") and "was not run" in cause
    assert cure.startswith("Try: rnnjob export")
    assert not (tmp_path / "ran").exists()
    assert list((tmp_path / "tmp").iterdir()) == []  # it was not even unpacked
    assert not (tmp_path / "runs" / "first").exists()


@pytest.mark.parametrize("storage", ["/nowhere/at/all", "nowhere://bucket/runs"])
def test_code_that_a_pod_cannot_read_is_an_error_with_a_cure(tmp_path: Path, storage: str) -> None:
    manifest = exported(client_code(), f"{tmp_path}/runs", tmp_path)
    environment: dict[str, Any] = yaml.safe_load(manifest["spec"]["runtimeEnvYAML"])
    environment["env_vars"]["RNNJOB_CODE_STORAGE"] = storage
    manifest["spec"]["runtimeEnvYAML"] = yaml.safe_dump(environment)
    done = run_in_a_pod(manifest, tmp_path)
    assert done.returncode == 1
    cause, cure = done.stderr.splitlines()
    assert cause.startswith("Error: the code in ") and "cannot be read" in cause
    assert cure.startswith("Try: rnnjob export")
