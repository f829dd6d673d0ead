"""Arrows between packages, and what an import pulls in."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import orchestrator
import workers

ROOTS = {
    name: Path(module.__file__ or "").parent
    for name, module in [("orchestrator", orchestrator), ("workers", workers)]
}
HEAVY = ("torch", "ray", "pydantic", "pyarrow", "numpy", "rich", "yaml")
REPORT = "import json, sys; print(json.dumps([m for m in sys.modules if '.' not in m]))"


def modules() -> list[str]:
    """All modules of both packages, dotted."""
    found = []
    for root in ROOTS.values():
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root.parent).with_suffix("").parts
            found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


def tree_of(module: str) -> ast.Module:
    path = ROOTS[module.split(".")[0]].parent / Path(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text())


def imported(module: str) -> Iterator[str]:
    """Top-level packages that a module names in an import, wherever in the file."""
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            yield (node.module or "").split(".")[0]


def loaded_by(code: str) -> set[str]:
    """Top-level modules in a fresh interpreter after this code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{REPORT}"], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("module", modules())
def test_imports_follow_the_arrows(module: str) -> None:
    names = set(imported(module))
    if module.startswith("workers"):
        assert not names & {"orchestrator", "click"}
        assert "ray" not in names or module == "workers.ray_worker"
    if not module.startswith("orchestrator.cli"):
        assert "click" not in names
    assert "tests" not in names


def test_the_arrows_are_checked_for_real_modules() -> None:
    assert {"workers.ray_worker", "orchestrator.cli.submit", "workers"} <= set(modules())
    assert "ray" in set(imported("workers.ray_worker"))
    assert "click" in set(imported("orchestrator.cli"))


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, click\n"
        "from orchestrator.cli import main\n"
        "sys.argv = ['rnnjob', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
    )
    assert not loaded_by(code) & set(HEAVY)


def test_the_submitting_side_imports_neither_torch_nor_ray() -> None:
    # Ray's client is imported only when it is to change something.
    chosen = "orchestrator.launchers.ray_client"
    names = [m for m in modules() if m.startswith("orchestrator") and m != chosen]
    assert "orchestrator.submission" in names
    loaded = loaded_by("\n".join(f"import {name}" for name in names))
    assert not loaded & {"torch", "ray", "torchvision"}


def test_showing_runs_needs_neither_torch_nor_ray_nor_pydantic() -> None:
    code = "import orchestrator.cli.show, orchestrator.cli.listing"
    assert not loaded_by(code) & {"torch", "ray", "pydantic"}


def test_the_training_side_needs_neither_ray_nor_click() -> None:
    names = [m for m in modules() if m.startswith("workers") and m != "workers.ray_worker"]
    loaded = loaded_by("\n".join(f"import {name}" for name in names))
    assert not loaded & {"ray", "click", "orchestrator"}
    assert "torch" in loaded


def test_importing_rnnjob_changes_nothing_in_the_process() -> None:
    """No side effects at import: no threads, no environment, no signal handlers."""
    code = (
        "import os, signal, threading\n"
        "before = dict(os.environ), signal.getsignal(signal.SIGTERM), threading.active_count()\n"
        "import orchestrator.submission, orchestrator.follow, orchestrator.driver\n"
        "after = dict(os.environ), signal.getsignal(signal.SIGTERM), threading.active_count()\n"
        "assert before == after"
    )
    assert "orchestrator" in loaded_by(code)


def test_the_layout_in_the_docs_names_every_module() -> None:
    text = (ROOTS["orchestrator"].parent / "docs" / "architecture.md").read_text()
    layout = text.partition("## Layout")[2].partition("Arrows go")[0]
    for name, root in ROOTS.items():
        there = {path.name for path in root.glob("*.py")} - {"__init__.py"}
        assert sorted(file for file in there if file not in layout) == [], name
    known = {path.name for root in ROOTS.values() for path in root.rglob("*.py")}
    assert sorted(set(re.findall(r"[a-z_0-9]+\.py", layout)) - known) == [], "gone"
