"""What an import pulls in, and that the layers of pyproject.toml are really checked.

The direction of imports itself is checked by import-linter: `make check`.
"""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import output_of
from tests.conftest import ROOT

PACKAGES = ("orchestrator", "workers")
HEAVY = {"torch", "ray", "pydantic", "pyarrow", "numpy", "rich", "yaml"}
REPORT = "import json, sys; print(json.dumps([m for m in sys.modules if '.' not in m]))"
IMPORT_RAY_THEMSELVES = {
    "orchestrator.launch.ray_client",
    "orchestrator.driver.ray_train.process_group",
    "orchestrator.driver.ray_train.run_trainer",
    "orchestrator.driver.ray_train.scaling_policies",
    "orchestrator.driver.ray_train.unsplit_datasets",
}
RUNS_A_JOB = "orchestrator.driver.__main__"


def modules(package: str) -> list[str]:
    """All modules of a package, dotted."""
    files = sorted((ROOT / package).rglob("*.py"))
    parts = [file.relative_to(ROOT).with_suffix("").parts for file in files]
    return [".".join(p[:-1] if p[-1] == "__init__" else p) for p in parts]


def loaded_by(code: str) -> set[str]:
    """Top-level modules in a fresh interpreter after this code."""
    return set(json.loads(output_of([sys.executable, "-c", f"{code}\n{REPORT}"]).splitlines()[-1]))


def loaded_with(names: list[str]) -> set[str]:
    return loaded_by("\n".join(f"import {name}" for name in names))


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, click\n"
        "from orchestrator.cli import main\n"
        "sys.argv = ['rnnjob', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
    )
    assert not loaded_by(code) & HEAVY


def test_the_submitting_side_imports_neither_torch_nor_ray() -> None:
    # Ray's client is imported only when it is to change something.
    names = [name for name in modules("orchestrator") if name not in IMPORT_RAY_THEMSELVES]
    assert {"orchestrator.launch.submission", RUNS_A_JOB} <= set(names)
    assert not loaded_with(names) & {"torch", "ray", "torchvision", "onnx", "onnxruntime"}


def test_showing_runs_needs_neither_torch_nor_ray_nor_pydantic() -> None:
    shown = ["orchestrator.cli.runs.show", "orchestrator.cli.runs.listing"]
    assert not loaded_with(shown) & {"torch", "ray", "pydantic"}


def test_of_the_processes_of_ray_train_only_the_workers_import_torch() -> None:
    names = ["orchestrator.driver.ray_trainer", "orchestrator.driver.ray_train.process_group"]
    names += ["orchestrator.driver.ray_train.run_trainer", "workers.on_ray.entry"]
    loaded = loaded_with([*names, "workers.shards.shard_block", "workers.records.train_result"])
    assert "ray" in loaded
    assert "torch" not in loaded


def test_the_training_side_needs_neither_ray_nor_click() -> None:
    on_ray = {"workers.on_ray.entry", "workers.on_ray.ray_worker", "workers.records.ray_reports"}
    loaded = loaded_with([name for name in modules("workers") if name not in on_ray])
    assert not loaded & {"ray", "click", "orchestrator", "onnx", "onnxruntime"}
    assert "torch" in loaded


@pytest.mark.parametrize(
    "name",
    [
        "orchestrator.driver.supervisor",  # lives as long as the job, and starts before all else
        "orchestrator.doctor.node_report",  # whether there is more is the question
    ],
)
def test_what_must_start_anywhere_needs_the_standard_library_alone(name: str) -> None:
    standard = set(sys.stdlib_module_names) | loaded_by("")
    assert loaded_with([name]) - standard == {"orchestrator"}


def test_importing_rnnjob_changes_nothing_in_the_process() -> None:
    """No side effects at import: no threads, no environment, no signal handlers."""
    code = (
        "import os, signal, threading\n"
        "before = dict(os.environ), signal.getsignal(signal.SIGTERM), threading.active_count()\n"
        "import orchestrator.launch.submission, orchestrator.observe.follow\n"
        "import orchestrator.driver.__main__\n"
        "after = dict(os.environ), signal.getsignal(signal.SIGTERM), threading.active_count()\n"
        "assert before == after"
    )
    assert "orchestrator" in loaded_by(code)


def started_modules() -> set[str]:
    """Modules that the code starts as programs: `python -m NAME`, here or on a cluster."""
    names = r'-m"?,? "?(orchestrator[a-z_.]*)'
    sources = [file.read_text() for file in (ROOT / "orchestrator").rglob("*.py")]
    return {name.rstrip(".") for source in sources for name in re.findall(names, source)}


def test_every_program_that_is_started_exists() -> None:
    names = started_modules()
    assert {"orchestrator.driver", "orchestrator.driver.supervisor"} <= names
    assert [name for name in names if importlib.util.find_spec(name) is None] == []


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both packages with the contracts of pyproject.toml, to add an import to."""
    folder = tmp_path_factory.mktemp("copy")
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "*.parquet")
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def lint(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_the_layers_hold(copied: Path) -> None:
    done = lint(copied)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("workers/train.py", "import orchestrator.units", "submitting side is above"),
        ("orchestrator/runs/result.py", "import orchestrator.client", "rooms of the submitting"),
        ("orchestrator/observe/follow.py", "import orchestrator.doctor.check", "rooms of the sub"),
        ("orchestrator/loose.py", "", "rooms of the submitting side"),
        ("workers/shards/order.py", "import workers.train", "rooms of the training side"),
        ("workers/storage/storage.py", "import click", "Only the command line imports click"),
        ("orchestrator/spec/plan.py", "import pytest", "Nothing that is shipped imports"),
        ("orchestrator/spec/plan.py", "import ray", "Ray is imported only by"),
        ("orchestrator/spec/tree.py", "import orchestrator.spec.build", "No circle"),
        (
            "orchestrator/cli/output.py",
            "import orchestrator.cli.run_to_end",
            "rooms of the command",
        ),
    ],
)
@pytest.mark.slow
def test_an_import_against_the_layers_fails_the_check(
    copied: Path, file: str, line: str, contract: str
) -> None:
    path = copied / file
    before = path.read_text() if path.exists() else None
    path.write_text(f"{before or ''}\n{line}\n")
    try:
        done = lint(copied)
    finally:
        path.unlink() if before is None else path.write_text(before)
    assert done.returncode == 1
    broken = [text for text in done.stdout.splitlines() if "BROKEN" in text]
    assert any(contract in text for text in broken), done.stdout


def rooms() -> list[Path]:
    return [file.parent for package in PACKAGES for file in (ROOT / package).rglob("__init__.py")]


@pytest.mark.parametrize("room", rooms(), ids=lambda room: str(room.relative_to(ROOT)))
def test_a_room_says_what_belongs_there_and_holds_no_more_than_sixteen_modules(room: Path) -> None:
    text = (room / "__init__.py").read_text()
    sentences = text.split('"""')[1].replace("report.html", "").count(".")
    assert text.startswith('"""') and sentences >= 2, "two sentences: what belongs there, what not"
    assert len([file for file in room.glob("*.py") if file.name != "__init__.py"]) <= 16


def test_the_docs_name_every_room() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    names = [str(room.relative_to(ROOT)).removeprefix("orchestrator/") for room in rooms()]
    assert [name for name in names if f"{name}/" not in text] == []
