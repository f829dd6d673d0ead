"""`rnnjob predict`: what a run's model says of each row, in order, whatever the rows come from."""

import errno
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from PIL import Image

from orchestrator.trained.predict import output as output_module
from tests.conftest import Cli
from tests.e2e.test_evaluate import SMALL, run_here, submit, succeed, taps
from tests.unit.datasets.idx_files import idx_bytes
from tests.unit.datasets.tables.made import write
from tests.unit.trained.runs import train
from workers.trained.prediction_file import LinesFile

Row = dict[str, Any]
OWN_MODEL = """
from torch import nn

class Mean(nn.Module):
    def __init__(self, num_features, num_outputs):
        super().__init__()
        self.head = nn.Linear(num_features, num_outputs)

    def forward(self, x, lengths):
        print("this is no row")
        return self.head(x.sum(1) / lengths.unsqueeze(1))
"""


@pytest.fixture(scope="module")
def work(module_rnnjob: Cli) -> Iterator[Path]:
    """A folder with a run of each kind, and the test rows of the digits."""
    folder = module_rnnjob.cwd
    digits(folder / "digits.parquet")
    taps(folder / "taps.parquet", 120)
    words(folder / "words.parquet")
    (folder / "net.py").write_text(OWN_MODEL)
    submit(module_rnnjob, "--run-id", "images", "--dataset", "mnist-sample", *SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, value in module_rnnjob.environment.items():
            if name.startswith(("RNNJOB_", "XDG_")):
                patch.setenv(name, value)
        patch.delenv("RNNJOB_DATA_DIR", raising=False)
        taps_table, words_table = "parquet:taps.parquet", "parquet:words.parquet"
        train("taps", taps_table)
        train("own", taps_table, model__class_path="net.py:Mean")
        train(
            "words", words_table, model__embedding_size=4,
            dataset__inputs=("text",), dataset__target="label",
        )  # fmt: skip
        train("sums", words_table, dataset__inputs=("a", "b"), dataset__target="sum")
        yield folder


def digits(file: Path) -> pa.Table:
    """Write the test rows of the shipped digits, and return them."""
    import orchestrator.datasets

    sample = Path(orchestrator.datasets.__file__).with_name("mnist_sample.parquet")
    table = pq.read_table(sample)
    test = table.filter(table["test"])
    pq.write_table(test, file)
    return test


def words(file: Path, num_rows: int = 80) -> None:
    """Tokens with a class, and two list columns with a number."""
    random = np.random.default_rng(1)
    texts = [random.choice(["up", "down", "é, \"x\""], random.integers(1, 6)).tolist()
             for _ in range(num_rows)]  # fmt: skip
    numbers = [random.normal(size=random.integers(1, 5)).tolist() for _ in range(num_rows)]
    columns = {"text": texts, "a": numbers, "b": numbers, "sum": [sum(n) for n in numbers]}
    label = [("few", "many")[len(text) > 2] for text in texts]
    # The model of words reads `text`; that of sums `a` and `b`.
    write(file, {**columns, "label": label, "id": [f"row {n}" for n in range(num_rows)]})


def lines_of(result: Result) -> list[Row]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def predicted(*arguments: str) -> list[Row]:
    return lines_of(succeed("predict", *arguments))


def test_the_test_rows_have_the_accuracy_of_the_result(work: Path) -> None:
    result = json.loads((work / "runs/images/result.json").read_text())
    rows = predicted("images", "digits.parquet")
    labels = [str(label) for label in pq.read_table("digits.parquet")["label"].to_pylist()]
    assert [row["row"] for row in rows] == list(range(1000))
    num_right = sum(row["prediction"] == label for row, label in zip(rows, labels, strict=True))
    assert num_right / 1000 == result["test_accuracy"]


def test_files_of_all_kinds_say_the_same_of_the_same_image(work: Path) -> None:
    images = np.array(pq.read_table("digits.parquet")["image"].to_pylist(), np.uint8)[:5]
    images = images.reshape(-1, 28, 28)
    (work / "pictures").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(255 - image).save(f"pictures/{number}.png")
    (work / "images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
    done = succeed("predict", "images", "pictures", "images-idx3-ubyte.gz")
    rows = lines_of(done)
    assert [(row["file"], row["row"]) for row in rows] == [
        *((f"pictures/{n}.png", 0) for n in range(5)),
        *(("images-idx3-ubyte.gz", n) for n in range(5)),
    ]
    assert "note: pictures inverted, since their border is bright (--no-invert): 5" in done.stderr
    of_table = predicted("images", "digits.parquet")[:5]
    for n in range(5):
        assert rows[n]["probabilities"] == rows[n + 5]["probabilities"]
        assert rows[n]["probability"] == pytest.approx(of_table[n]["probability"], rel=1e-5)


def test_images_of_a_table_are_inverted_if_that_is_asked_for(work: Path) -> None:
    table = pq.read_table("digits.parquet").slice(0, 5)
    negative = [[255 - pixel for pixel in image] for image in table["image"].to_pylist()]
    column = pa.array(negative, pa.list_(pa.uint8()))
    write(work / "negative.parquet", table.set_column(0, "image", column))
    write(work / "five.parquet", table)
    done = succeed("predict", "images", "negative.parquet", "--invert")
    found, wanted = lines_of(done), predicted("images", "five.parquet")
    assert [row["probabilities"] for row in found] == [row["probabilities"] for row in wanted]
    assert "note: images inverted: 5" in done.stderr
    assert predicted("images", "negative.parquet") != found


def test_a_file_of_predictions_has_what_is_printed(work: Path) -> None:
    printed = predicted("taps", "taps.parquet")
    assert run_here("predict", "taps", "taps.parquet", "-o", "t.parquet").exit_code == 0
    done = succeed("predict", "taps", "taps.parquet", "-o", "t.jsonl", "--json")
    assert json.loads(done.stdout)["rows"] == 120
    assert [json.loads(line) for line in Path("t.jsonl").read_text().splitlines()] == printed
    table = pq.read_table("t.parquet")
    assert table.schema.names == ["file", "row", "prediction", "probability", "probabilities"]
    assert table["prediction"].to_pylist() == [row["prediction"] for row in printed]
    single = [np.float32(row["probability"]) for row in printed]
    assert table["probability"].to_pylist() == single


@pytest.mark.parametrize("run_id", ["taps", "own", "words", "sums"])
def test_the_rows_of_several_files_come_in_order_each_once(work: Path, run_id: str) -> None:
    name = "taps" if run_id in ("taps", "own") else "words"
    table = pq.read_table(f"{name}.parquet").drop_columns(
        ["hand"] if name == "taps" else ["label", "sum"]
    )
    folder = work / f"cut-{run_id}"
    for number, first in enumerate((0, 50, 53)):
        rows = table.slice(first, (50, 3, 1000)[number])
        write(folder / f"{number}.parquet", rows)
    whole, cut = predicted(run_id, f"{name}.parquet"), predicted(run_id, str(folder))
    key = "prediction" if run_id == "sums" else "probability"
    assert [r[key] for r in cut] == pytest.approx([r[key] for r in whole], rel=1e-4)
    if name == "words":
        assert [row["id"] for row in cut] == [f"row {n}" for n in range(80)]
    else:
        places = [*((0, n) for n in range(50)), (1, 0), (1, 1), (1, 2)]
        assert [(Path(row["file"]).name, row["row"]) for row in cut][:53] == [
            (f"{file}.parquet", n) for file, n in places
        ]


def test_csv_gives_what_parquet_gives(work: Path) -> None:
    table = pq.read_table("words.parquet").slice(0, 6).to_pylist()
    long = ["id,a,b,extra"]
    for row in table:
        long += [f"{row['id']},{a!r},{b!r},x" for a, b in zip(row["a"], row["b"], strict=True)]
    (work / "long.csv").write_text("\n".join(long) + "\n")
    wide = ["id\tlabel\t" + "\t".join(f"t{n}" for n in range(5))]
    for row in table:
        cells = [f'"{t.replace(chr(34), chr(34) * 2)}"' for t in row["text"]]
        wide.append("\t".join([row["id"], "", *cells, *[""] * (5 - len(cells))]))
    (work / "wide.tsv").write_text("\n".join(wide) + "\n")
    write(work / "six.parquet", pq.read_table("words.parquet").slice(0, 6))
    assert predicted("sums", "long.csv") == predicted("sums", "six.parquet")
    assert predicted("words", "wide.tsv") == predicted("words", "six.parquet")


def test_a_checkpoint_may_be_named(work: Path) -> None:
    steps = sorted(int(p.name[5:]) for p in (work / "runs/taps/checkpoints").iterdir())
    first, last = (predicted(f"taps:{step}", "taps.parquet") for step in (steps[0], steps[-1]))
    assert first != last
    assert "taps has no checkpoint of step 1" in refused("taps:1", "taps.parquet")


def refused(*arguments: str, exit_code: int = 2) -> str:
    before = set(Path.cwd().iterdir())
    done = run_here("predict", *arguments)
    assert done.exit_code == exit_code, done.output
    cause, cure = done.stderr.strip().splitlines()
    assert cause.startswith("Error: ") and cure.startswith("Try: ")
    assert set(Path.cwd().iterdir()) == before, "something is left"
    return cause


def test_what_cannot_be_predicted_is_refused_and_leaves_nothing(work: Path) -> None:
    (work / "none.png").write_text("no image")
    output = ("-o", "new.jsonl")
    assert "none.png is no PNG or JPEG" in refused("images", "none.png", *output)
    assert "reads images" in refused("images", "long.csv", *output)
    assert "reads sequences" in refused("taps", "none.png", *output)
    assert "no column 'accel'" in refused("taps", "words.parquet", *output)
    wide = [[[1.0, 2.0]], [[1.0, 2.0], [1.0]]]
    write(work / "ragged.parquet", {"accel": wide})
    assert "row 1 (from 0) of ragged.parquet" in refused("taps", "ragged.parquet", *output)
    write(work / "broad.parquet", {"accel": [[[1.0, 2.0, 3.0]]]})
    assert "width 3" in refused("taps", "broad.parquet", *output)
    assert "does not exist" in refused("taps", "nowhere.parquet", *output)
    assert "does not say the form" in refused("taps", "taps.parquet", "-o", "new.txt")
    (work / "there.jsonl").write_text("mine")
    assert "there.jsonl exists" in refused("taps", "taps.parquet", "-o", "there.jsonl")
    assert (work / "there.jsonl").read_text() == "mine"
    (work / "runs" / "taps" / "model.safetensors").rename(work / "moved")
    assert "taps has no final model" in refused("taps", "taps.parquet", *output)
    (work / "moved").rename(work / "runs" / "taps" / "model.safetensors")
    refused("nobody", "taps.parquet", exit_code=4)


def test_a_full_disk_leaves_the_old_file(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk(LinesFile):
        def write(self, rows: pa.RecordBatch) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(output_module, "prediction_file", lambda path, *_: FullDisk(path))
    (work / "old.jsonl").write_text("old")
    arguments = ("taps", "taps.parquet", "-o", "old.jsonl", "--force")
    assert "No space left on device" in refused(*arguments, exit_code=1)
    assert (work / "old.jsonl").read_text() == "old"


def test_the_code_of_a_stranger_is_run_only_with_trust(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RNNJOB_STATE_DIR", str(work / "of another user"))
    assert "net.py (SHA-256 " in refused("own", "taps.parquet")
    assert len(predicted("own", "taps.parquet", "--trust-code")) == 120


def test_the_installed_command_prints_json_lines_to_a_pipe(work: Path, module_rnnjob: Cli) -> None:
    done = module_rnnjob("predict", "words", "words.parquet")
    assert done.exit_code == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows == predicted("words", "words.parquet")
