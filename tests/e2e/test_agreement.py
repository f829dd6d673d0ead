"""`predict`, an ONNX file in onnxruntime, a bundle in plain torch and the numbers of the training
agree on every test row. The arrays are made from the files here, without rnnjob."""

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray

import orchestrator.datasets
from tests.conftest import ENOUGH_S, Cli
from tests.e2e.export_runs import PACKAGE, PARTS, RUNS, SMALL, rows
from tests.e2e.test_evaluate import succeed

pytestmark = pytest.mark.release
TOLERANCE = 1e-5
Arrays = dict[str, NDArray[Any]]
IN_PLAIN_TORCH = """
import sys
for name in ("orchestrator", "workers", "ray", "pyarrow", "pydantic", "safetensors"):
    sys.modules[name] = None  # an import of it fails
import numpy, torch
folder, arrays, to = sys.argv[1:]
sys.path.insert(0, folder)
from model import load
model = load(folder)
given = [torch.from_numpy(array) for array in numpy.load(arrays).values()]
with torch.no_grad():
    outputs = [model(*piece) for piece in zip(*(array.split(1000) for array in given))]
numpy.save(to, torch.cat(outputs).numpy())
"""


def columns_of(run_id: str) -> tuple[str, str]:
    arguments = RUNS[run_id]
    return tuple(arguments[arguments.index(f"--{name}") + 1] for name in ("inputs", "target"))  # type: ignore[return-value]


def padded(column: list[Any], facts: dict[str, str]) -> Arrays:
    """Return the arguments of an exported model, as docs/export.md says."""
    if "vocabulary" in facts:
        places = {token: 2 + n for n, token in enumerate(json.loads(facts["vocabulary"]))}
        column = [[places.get(token, 1) for token in row] for row in column]
    lengths = np.array([len(row) for row in column], np.int64)
    example = np.array(column[0])
    kind = np.int64 if example.dtype.kind == "i" else np.float32
    inputs = np.zeros((len(column), lengths.max(), *example.shape[1:]), kind)
    for n, row in enumerate(column):
        inputs[n, : len(row)] = row
    return {"inputs": inputs, "lengths": lengths}


def in_onnxruntime(file: Path, arrays: Arrays) -> NDArray[Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file))
    names = {one.name for one in session.get_inputs()}
    [outputs] = session.run(None, {name: arrays[name] for name in names})
    return np.asarray(outputs)


def facts_of(file: Path) -> dict[str, str]:
    import onnxruntime

    found: dict[str, str] = onnxruntime.InferenceSession(str(file)).get_modelmeta()
    return dict(found.custom_metadata_map)  # type: ignore[attr-defined]


def in_plain_torch(cli: Cli, bundle: str, arrays: Arrays) -> NDArray[Any]:
    np.savez(cli.cwd / "arrays.npz", **arrays)
    command = [sys.executable, "-c", IN_PLAIN_TORCH, bundle, "arrays.npz", "outputs.npy"]
    done = subprocess.run(command, cwd=cli.cwd, capture_output=True, text=True, timeout=ENOUGH_S)
    assert done.returncode == 0, done.stderr
    return np.load(cli.cwd / "outputs.npy")


def train(cli: Cli, *arguments: str) -> None:
    done = cli("submit", "--local", *arguments)
    assert done.exit_code == 0, done.stderr


def all_agree(cli: Cli, run_id: str, inputs: Path, arrays: Arrays | None, column: str = "") -> Any:
    """Compare the three on the rows of a file. Return the predictions.

    Args:
        arrays: the rows, or None for those of a column of Parquet.
    """
    succeed("predict", run_id, str(inputs), "-o", f"{run_id}.parquet", "--force")
    predicted = pq.read_table(cli.cwd / f"{run_id}.parquet")
    for form in ("onnx", "bundle"):
        succeed("export", run_id, "--format", form, "-o", f"{run_id}.{form}", "--force")
    file = cli.cwd / f"{run_id}.onnx"
    if arrays is None:
        arrays = padded(pq.read_table(inputs)[column].to_pylist(), facts_of(file))
    result = json.loads((cli.cwd / "runs" / run_id / "result.json").read_text())
    for outputs in (in_onnxruntime(file, arrays), in_plain_torch(cli, f"{run_id}.bundle", arrays)):
        assert len(outputs) == predicted.num_rows == result["test_rows"]
        if outputs.ndim == 1:  # numbers, whose standard deviation is 50
            np.testing.assert_allclose(outputs, predicted["prediction"], atol=50 * TOLERANCE)
            continue
        each = predicted["probabilities"].combine_chunks().flatten()
        probabilities = np.stack([np.asarray(one) for one in each], axis=1)
        assert np.abs(outputs - probabilities).max() <= TOLERANCE
        names = np.array([field.name for field in predicted.schema.field("probabilities").type])
        assert names[outputs.argmax(1)].tolist() == predicted["prediction"].to_pylist()
    return predicted, result


@pytest.fixture(scope="module")
def cli(module_rnnjob: Cli) -> Iterator[Cli]:
    pytest.importorskip("onnxruntime", reason="needs the extra onnx: onnx and onnxruntime")
    folder = module_rnnjob.cwd
    (folder / "nets").mkdir()
    (folder / "nets" / "__init__.py").write_text("")
    (folder / "nets" / "mean.py").write_text(PACKAGE)
    (folder / "nets" / "parts.py").write_text(PARTS)
    rows(folder / "rows.parquet", 400)
    table = pq.read_table(folder / "rows.parquet")
    test = table.filter(pa.compute.equal(table["split"], "test"))
    pq.write_table(test, folder / "test.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, value in module_rnnjob.environment.items():
            if name.startswith(("RNNJOB_", "XDG_")):
                patch.setenv(name, value)
        num_threads = torch.get_num_threads()
        yield module_rnnjob
        torch.set_num_threads(num_threads)


@pytest.mark.parametrize("run_id", ["vectors", "tokens", "numbers", "package"])
def test_on_the_test_rows_of_own_data(cli: Cli, run_id: str) -> None:
    train(cli, "--run-id", run_id, *RUNS[run_id], *SMALL)
    column, target = columns_of(run_id)
    predicted, result = all_agree(cli, run_id, cli.cwd / "test.parquet", None, column)
    targets = pq.read_table(cli.cwd / "test.parquet")[target].to_pylist()
    if run_id == "numbers":
        error = np.abs(np.array(targets) - predicted["prediction"].to_numpy()).mean()
        assert error == pytest.approx(result["test_mae"], rel=1e-6)
        return
    num_right = sum(map(str.__eq__, predicted["prediction"].to_pylist(), targets))
    assert num_right / len(targets) == result["test_accuracy"]


def test_on_the_digits_that_are_shipped(cli: Cli) -> None:
    sample = pq.read_table(Path(orchestrator.datasets.__file__).with_name("mnist_sample.parquet"))
    test = sample.filter(sample["test"])
    pq.write_table(test, cli.cwd / "digits.parquet")
    images = np.array(test["image"].to_pylist(), np.uint8).reshape(-1, 28, 28)
    train(cli, "--run-id", "images", *RUNS["images"], *SMALL)
    predicted, result = all_agree(cli, "images", cli.cwd / "digits.parquet", {"inputs": images})
    num_right = (predicted["prediction"].to_numpy() == np.array(test["label"]).astype(str)).sum()
    assert num_right / 1000 == result["test_accuracy"]


def test_on_all_ten_thousand_rows_of_mnist(cli: Cli, mnist_dir: Path) -> None:
    data = ("--data-dir", str(mnist_dir))
    job = ("--preset", "default", "--epochs", "1", "--precision", "fp32")
    train(cli, "--run-id", "mnist", *job, *data)
    [images_file] = mnist_dir.glob("t10k-images-idx3-ubyte*")
    [labels_file] = mnist_dir.glob("t10k-labels-idx1-ubyte*")
    images = content(images_file)[16:].reshape(-1, 28, 28)
    predicted, result = all_agree(cli, "mnist", images_file, {"inputs": images})
    assert predicted.num_rows == 10_000
    labels = content(labels_file)[8:].astype(str)
    num_right = (predicted["prediction"].to_numpy() == labels).sum()
    assert num_right / 10_000 == result["test_accuracy"] > 0.9


def content(file: Path) -> NDArray[np.uint8]:
    data = file.read_bytes()
    return np.frombuffer(gzip.decompress(data) if file.suffix == ".gz" else data, np.uint8)
