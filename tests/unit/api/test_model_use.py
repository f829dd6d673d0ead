"""The Python API uses the model of a run: predictions that stream or are written, exports."""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from orchestrator import JobError, Run, open_run
from tests.unit.datasets.tables.made import sequences, write
from tests.unit.trained.runs import train
from workers.errors import InputError
from workers.trained.plain_model import load

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


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run with a model of its own, and 3,000 rows to predict in `new/`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RNNJOB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("RNNJOB_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "net.py").write_text(OWN_MODEL)
    write(tmp_path / "train.parquet", {"x": sequences(64), "y": ["no", "yes"] * 32})
    train("r", "parquet:train.parquet", model__class_path="net.py:Mean")
    table = pa.table({"x": sequences(3000, seed=1)})
    write(tmp_path / "new/a.parquet", table.slice(0, 2000))
    write(tmp_path / "new/b.parquet", table.slice(2000))
    return open_run("r")


def test_predictions_come_in_batches_whose_loop_prints_where_it_did(
    run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    before = torch.get_num_threads()
    batches = []
    for batch in run.predict_batches("new"):
        print("a batch")
        batches.append(batch)
    # The model computes ahead in threads meanwhile, and may print there, too.
    assert capfd.readouterr().out.count("a batch\n") == 3
    assert [batch.num_rows for batch in batches] == [1024, 976, 1000]
    assert pa.Table.from_batches(batches).equals(run.predict("new"))
    stdout = sys.stdout
    for _ in run.predict_batches("new"):
        break
    assert sys.stdout is stdout and torch.get_num_threads() == before


def test_predictions_are_written_whole_and_replaced_only_if_that_is_wanted(run: Run) -> None:
    assert run.predict_to("p.parquet", "new") == 3000
    assert pq.read_table("p.parquet").equals(run.predict("new"))
    with pytest.raises(InputError, match=r"p\.parquet exists"):
        run.predict_to("p.parquet", "new")
    write(Path("bad.parquet"), {"x": [[[1.0, 2.0]], [[1.0, 2.0], [3.0]]]})
    with pytest.raises(InputError, match=r"row 1 \(from 0\) of bad"):
        run.predict_to("p.parquet", "bad.parquet", force=True)
    assert pq.read_table("p.parquet").num_rows == 3000
    assert run.predict_to("p.parquet", "new/b.parquet", force=True) == 1000


def test_a_model_is_exported_with_the_checks_of_the_command(run: Run) -> None:
    done = run.export("bundle", "out")
    assert done["path"] == str(Path("out").absolute()) and done["check"]["other_classes"] == 0
    assert done["weights_sha256"] == run.result["weights_sha256"]
    assert done["check"]["rows_of"].startswith("test rows of parquet:")
    rows, lengths = torch.ones(1, 3, 2), torch.tensor([3])
    assert load("out")(rows, lengths).shape == (1, 2)
    assert run.export("safetensors", checkpoint=8)["path"].endswith("r-8.safetensors")
    for format_name, path, cause in (
        ("bundle", "out", "out exists"),
        ("keras", "new_out", "'keras' is no format"),
        ("bundle", "none/out", "none does not exist"),
    ):
        with pytest.raises(JobError, match=cause) as refused:
            run.export(format_name, path)
        assert refused.value.cure
    assert not Path("new_out").exists()


def test_what_cannot_run_anywhere_is_refused_at_once(run: Run) -> None:
    with pytest.raises(InputError, match="0 workers"):
        run.evaluate(workers=0)
    with pytest.raises(InputError, match="secrets applies only to a job on a cluster"):
        run.predict_to("p.parquet", "new", workers=2, secrets=["HOME"])
    with pytest.raises(JobError, match="no cluster answers"):
        run.predict_to("p.parquet", "new", address="http://127.0.0.1:9")
    assert not list(Path().glob("p.parquet*"))
