"""`rnnjob export RUN`: what it writes computes what the run's model computes, on all test rows."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from orchestrator.cli import main
from orchestrator.trained.rows import rows_for
from orchestrator.trained.trained_run import open_trained
from tests.conftest import ROOT, Cli
from tests.e2e.export_runs import PACKAGE, PARTS, RUNS, SMALL, rows
from workers.data.rows import Batch
from workers.models.own.installed import code_of
from workers.models.sequences import model_outputs
from workers.storage.storage import Storage
from workers.trained.load import load_trained

FORMATS = ("safetensors", "onnx", "torchscript")


@pytest.fixture(scope="module")
def work(module_rnnjob: Cli) -> Iterator[Path]:
    """A folder with a run of each kind, and their data."""
    folder = module_rnnjob.cwd
    rows(folder / "rows.parquet")
    shutil.copy(ROOT / "examples" / "conv_gru.py", folder / "net.py")
    (folder / "nets").mkdir()
    (folder / "nets" / "__init__.py").write_text("")
    (folder / "nets" / "mean.py").write_text(PACKAGE)
    (folder / "nets" / "parts.py").write_text(PARTS)
    for run_id, arguments in RUNS.items():
        done = module_rnnjob("submit", "--local", "--run-id", run_id, *arguments, *SMALL)
        assert done.exit_code == 0, done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, value in module_rnnjob.environment.items():
            if name.startswith(("RNNJOB_", "XDG_")):
                patch.setenv(name, value)
        patch.delenv("RNNJOB_DATA_DIR", raising=False)
        num_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield folder
        torch.set_num_threads(num_threads)


@pytest.fixture
def fresh(work: Path, tmp_path: Path) -> Path:
    """A folder for what a test writes."""
    return tmp_path


def run_here(*arguments: str) -> Result:
    """Run a command in this process, which takes a second less than a process of its own."""
    return CliRunner().invoke(main, arguments)


def exported(run: str, format_name: str, to: Path, *arguments: str) -> dict[str, Any]:
    if format_name == "onnx":
        pytest.importorskip("onnxruntime", reason="needs the extra onnx: onnx and onnxruntime")
    done = run_here("export", run, "--format", format_name, "-o", str(to), "--json", *arguments)
    assert done.exit_code == 0, done.output
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def predictions(run_id: str) -> list[tuple[Batch, torch.Tensor]]:
    """Return what rnnjob computes for each test row, in batches."""
    opened = open_trained(Storage("runs"), run_id)
    found = rows_for(opened, None, None, None)
    with code_of(opened.job), torch.no_grad():
        model = load_trained(opened.job)
        batches = [
            piece.batch()
            for shard in range(found.shape.num_shards)
            for piece in found.load_shard(shard)["test"].pieces(128)
        ]
        outputs = [model_outputs(model.module, batch, opened.job) for batch in batches]
    target = opened.job.data.target
    if target.kind == "number":
        finished = [out.squeeze(1).double() * target.std + target.mean for out in outputs]
    else:
        finished = [out.softmax(dim=1) for out in outputs]
    return list(zip(batches, finished, strict=True))


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("run_id", RUNS)
def test_every_format_of_every_kind_agrees_on_all_test_rows(
    fresh: Path, run_id: str, format_name: str
) -> None:
    done = exported(run_id, format_name, fresh / "out")
    result = json.loads(Path("runs", run_id, "result.json").read_text())
    assert done["weights_sha256"] == result["weights_sha256"]
    check = done["check"]
    assert check["rows"] == result["test_rows"] and check["rows_of"].startswith("test rows of")
    assert check["max_difference"] <= 1e-5 and check["other_classes"] == 0
    assert [path.name for path in fresh.iterdir()] == ["out"]


LOADER = """
import sys

for name in ("orchestrator", "workers", "ray", "pyarrow", "pydantic", "safetensors"):
    sys.modules[name] = None  # an import of it fails
import torch
folder, rows, to = sys.argv[1:]
readme = open(f"{folder}/README.md").read()
code = readme.split("```python")[1].split("```")[0].replace("FOLDER", folder)
assert len(code.strip().splitlines()) == 5
here = {}
exec(code, here)
with torch.no_grad():
    torch.save([here["model"](*arguments) for arguments in torch.load(rows)], to)
"""


@pytest.mark.parametrize("run_id", RUNS)
def test_the_five_lines_of_a_model_card_compute_the_same_without_rnnjob(
    fresh: Path, run_id: str
) -> None:
    wanted = predictions(run_id)
    check = exported(run_id, "bundle", fresh / "bundle")["check"]
    assert check["rows"] == sum(len(batch) for batch, _ in wanted)
    arguments = [
        (batch.inputs,) if batch.lengths_N is None else (batch.inputs, batch.lengths_N)
        for batch, _ in wanted
    ]
    torch.save(arguments, fresh / "rows")
    paths = [str(fresh / name) for name in ("bundle", "rows", "outputs")]
    done = subprocess.run(
        [sys.executable, "-c", LOADER, *paths], cwd=fresh, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for found, (_, outputs) in zip(torch.load(paths[2]), wanted, strict=True):
        torch.testing.assert_close(found, outputs, rtol=1e-5, atol=1e-5)
    # Nothing was written into the folder but Python's own cache of model.py.
    sums = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=fresh / "bundle")
    assert sums.returncode == 0


@pytest.mark.parametrize("changed", ["weights.safetensors", "model.json", "model_code/net.py"])
def test_a_changed_bundle_is_not_loaded(fresh: Path, changed: str) -> None:
    from workers.trained.plain_model import load

    exported("own", "bundle", fresh / "bundle")
    load(fresh / "bundle")
    file = fresh / "bundle" / changed
    file.write_bytes(file.read_bytes() + b"\n")
    with pytest.raises(ValueError, match=f"{changed} was changed"):
        load(fresh / "bundle")
    file.unlink()
    with pytest.raises(ValueError, match=f"{changed} is missing"):
        load(fresh / "bundle")


def test_code_that_was_added_to_a_bundle_is_not_run(fresh: Path) -> None:
    from workers.trained.plain_model import load

    exported("package", "bundle", fresh / "bundle")
    (fresh / "bundle" / "model_code" / "torch.py").write_text("raise SystemExit")
    with pytest.raises(ValueError, match=r"torch\.py does not belong to the model"):
        load(fresh / "bundle")


def test_the_spec_in_a_bundle_can_be_submitted_again(fresh: Path, module_rnnjob: Cli) -> None:
    exported("vectors", "bundle", fresh / "bundle")
    spec = str(fresh / "bundle" / "job.yaml")
    again = module_rnnjob("submit", "--local", "-c", spec, "--run-id", "again", "--json")
    assert again.exit_code == 0, again.stderr
    first = json.loads(Path("runs", "vectors", "result.json").read_text())
    assert again.json["weights_sha256"] == first["weights_sha256"]


def test_a_checkpoint_is_exported_by_its_name(fresh: Path) -> None:
    step = min(int(path.name[5:]) for path in Path("runs/images/checkpoints").iterdir())
    done = exported(f"images:{step}", "safetensors", fresh / "out")
    assert done["checkpoint"] == step
    assert exported("images:best", "bundle", fresh / "best")["checkpoint"] == "best"
    assert "rnnjob evaluate images:best" in (fresh / "best" / "README.md").read_text()


@pytest.mark.parametrize("format_name", [*FORMATS, "bundle"])
def test_a_run_of_an_earlier_version_is_exported(fresh: Path, format_name: str) -> None:
    shutil.copytree(ROOT / "tests/fixtures/run_without_data_json", "runs/old", dirs_exist_ok=True)
    done = exported("old", format_name, fresh / "out")
    best = exported("old:best", format_name, fresh / "best")
    result = json.loads(Path("runs/old/result.json").read_text())
    assert done["weights_sha256"] == best["weights_sha256"] == result["weights_sha256"]
    assert done["check"]["rows"] == 1000 and done["check"]["max_difference"] <= 1e-5


def test_without_the_data_made_up_rows_are_compared_and_that_is_said(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RNNJOB_CACHE_DIR", str(fresh / "cache"))
    Path("rows.parquet").rename("moved.parquet")
    try:
        done = exported("vectors", "torchscript", fresh / "out")
    finally:
        Path("moved.parquet").rename("rows.parquet")
    assert done["check"]["rows_of"].startswith("made-up rows, since ")
    assert done["check"]["rows"] > 100


def test_the_installed_command_says_what_it_wrote(work: Path, module_rnnjob: Cli) -> None:
    done = module_rnnjob("export", "images", "--format", "torchscript")
    assert done.exit_code == 0 and done.stderr == "", done.stderr
    written, checked = done.stdout.splitlines()
    assert written.startswith(f"wrote {work}/images.pt (")
    assert checked.startswith("checked on 1,000 test rows of mnist-sample: probabilities differ")


def refused(*arguments: str) -> tuple[int, str]:
    """Return the exit code, and the lines of cause and cure."""
    done = run_here("export", *arguments)
    assert not done.stdout and "Traceback" not in done.stderr
    return done.exit_code, done.stderr


def test_an_output_that_exists_is_replaced_only_with_force(fresh: Path) -> None:
    out = fresh / "out"
    out.write_text("mine")
    command = ("images", "--format", "safetensors", "-o", str(out))
    code, text = refused(*command)
    assert code == 2 and f"{out} exists" in text and "--force" in text
    assert out.read_text() == "mine"
    assert run_here("export", *command, "--force").exit_code == 0
    code, text = refused("images", "--format", "bundle", "-o", str(out), "--force")
    assert code == 2 and "nothing that this command wrote" in text
    exported("images", "bundle", fresh / "bundle")
    exported("images", "bundle", fresh / "bundle", "--force")
    code, text = refused("images", "--format", "onnx", "-o", str(fresh / "bundle"), "--force")
    assert code == 2 and ("is a folder" in text or "onnxruntime" in text)


def test_a_place_that_cannot_be_written_is_named(fresh: Path) -> None:
    code, text = refused("images", "--format", "bundle", "-o", str(fresh / "a" / "b"))
    assert code == 2 and f"the folder {fresh}/a does not exist" in text
    code, text = refused("images", "--format", "safetensors", "-o", "/proc/out")
    assert code in (1, 2) and "/proc" in text and "-o" in text


def test_an_unknown_format_and_a_run_without_a_model_are_refused(fresh: Path) -> None:
    done = run_here("export", "images", "--format", "keras")
    assert done.exit_code == 2 and "'onnx'" in done.stderr
    assert run_here("export", "images").exit_code == 2
    shutil.copytree("runs/images", "runs/bare")
    Path("runs/bare/model.safetensors").unlink()
    try:
        code, text = refused("bare", "--format", "bundle", "-o", str(fresh / "out"))
    finally:
        shutil.rmtree("runs/bare")
    assert code == 2 and "bare has no final model" in text and "bare:best" in text
    assert not list(fresh.iterdir())


def test_without_the_extra_the_packages_are_named(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, text = refused("images", "--format", "onnx")
    assert code == 2 and "onnxruntime" in text and "pip install onnx onnxruntime" in text


def test_strange_code_is_not_run_unasked(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNJOB_STATE_DIR", str(fresh / "state"))
    command = ("own", "--format", "torchscript", "-o", str(fresh / "out"))
    code, text = refused(*command)
    assert code == 2 and "net.py" in text and "--trust-code" in text
    assert run_here("export", *command, "--trust-code").exit_code == 0


UNTRACEABLE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_features, num_outputs):
        super().__init__()
        self.head = nn.Linear(num_features, num_outputs)

    def forward(self, x, lengths):
        rows = [row[: int(n)].mean(0) for row, n in zip(x, lengths)]
        return self.head(torch.stack(rows))
"""


def test_a_model_that_cannot_be_recorded_is_refused_but_as_a_bundle(
    fresh: Path, module_rnnjob: Cli
) -> None:
    Path("loop.py").write_text(UNTRACEABLE)
    if not Path("runs/loop").exists():
        data = ("--dataset", "parquet:rows.parquet", "--inputs", "accel", "--target", "hand")
        model = ("--model", "loop.py:Net")
        done = module_rnnjob("submit", "--local", "--run-id", "loop", *data, *model, *SMALL)
        assert done.exit_code == 0, done.stderr
    code, text = refused("loop", "--format", "torchscript", "-o", str(fresh / "out"))
    assert code == 2 and "loop.py:Net cannot be exported as " in text and "--format bundle" in text
    assert len(text.splitlines()) == 2
    assert not list(fresh.iterdir())
    exported("loop", "bundle", fresh / "out")
