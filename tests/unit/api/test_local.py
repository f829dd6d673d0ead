"""The Python API in one process: what a script or a notebook does with a run."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from orchestrator import JobError, Run, list_runs, open_run, submit
from tests.unit.datasets.idx_files import write_idx_files
from tests.unit.fakes import tiny_spec, wait_until
from workers.errors import InputError, JobStoppedError, WaitTimeoutError
from workers.models.cpu_kernels import flushes_denormals
from workers.storage.storage import Storage

ENDLESS = {"training.epochs": 100_000}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(folder: Path, run_id: str = "run-1", **values: Any) -> Run:
    return submit(tiny_spec(folder, **values), local=True, run_id=run_id)


def test_a_run_is_trained_and_looked_at(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = train(here).wait()
    out, err = capfd.readouterr()
    assert out == "" and "run run-1" in err and "epoch   2" in err
    assert (run.id, run.state, run.result["steps"]) == ("run-1", "SUCCEEDED", run.metrics.num_rows)
    assert isinstance(run.metrics, pa.Table) and run.epochs["epoch"].to_pylist() == [1, 2]
    assert {"step", "loss", "accuracy", "lr"} <= set(run.metrics.column_names)
    assert repr(run).startswith("<Run run-1 SUCCEEDED, test accuracy ")
    assert run.result["weights_sha256"][:16] in run._repr_html_()
    report = run.report()
    assert report.path == here / "runs" / "run-1" / "report.html" and str(report.path) == str(
        report
    )
    assert "<iframe sandbox srcdoc=" in report._repr_html_()
    assert "<script" not in report._repr_html_()
    assert run.why().startswith("succeeded")
    with pytest.raises(InputError, match="names no tracker"):
        run.track()
    assert [repr(found) for found in list_runs()] == [repr(run)] == [repr(open_run())]
    run.delete()
    assert list_runs() == []
    assert "holds no run" in repr(run) and "holds no run" in run._repr_html_()


def test_the_model_of_a_run_is_a_plain_module(here: Path) -> None:
    before = torch.get_num_threads()
    run = train(here).wait(progress=False)
    for checkpoint in (None, "best", run.result["steps"]):
        model = run.model(checkpoint)
        assert isinstance(model, torch.nn.Module) and not model.training
        assert model(torch.zeros(2, 4, 3)).shape[0] == 2
    evaluated = run.evaluate(data_dir=here / "idx")
    assert evaluated["accuracy"] == run.result["test_accuracy"]
    assert torch.get_num_threads() == before and not flushes_denormals()
    with pytest.raises(InputError, match="no checkpoint of step 12345"):
        run.model(12345)


def test_each_row_of_a_file_is_predicted_in_order(here: Path) -> None:
    run = train(here).wait(progress=False)
    file = next((here / "idx").glob("t10k-images*"))
    predicted = run.predict(file, invert=False)
    [rows] = {run.result["test_rows"], predicted.num_rows}
    assert predicted["row"].to_pylist() == list(range(rows))
    with pytest.raises(JobError, match=r"none\.png"):
        run.predict("none.png")


def test_a_spec_is_a_mapping_a_file_or_a_job_spec(here: Path) -> None:
    spec = tiny_spec(here)
    (here / "job.yaml").write_text(spec.to_yaml())
    keys = {"training.epochs": np.int64(1), "dataset.data_dir": here / "idx"}
    mapping = {**spec.model_dump(mode="json"), **keys}
    for given in (spec, mapping, here / "job.yaml", "job.yaml"):
        run = submit(given, local=True, storage=here / "other").wait(progress=False)
        assert run.folder.startswith(str(here / "other"))
        assert run.spec.training.epochs == (1 if given is mapping else 2)


def test_the_environment_says_what_it_says_to_the_command_line(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_idx_files(here / "idx")
    monkeypatch.setenv("RNNJOB_STORAGE", str(here / "elsewhere"))
    monkeypatch.setenv("RNNJOB_DATA_DIR", str(here / "idx"))
    monkeypatch.setenv("RAY_JOB_HEADERS", "not JSON, and nothing for a job on this machine")
    keys = {"dataset.num_shards": 4, "training.global_batch_size": 12, "training.epochs": 1}
    run = submit({**keys, "dataset.validation_rows": 10}, local=True).wait(progress=False)
    assert run.folder.startswith(str(here / "elsewhere"))
    assert open_run().id == run.id


@pytest.mark.parametrize(
    ("spec", "options", "cause"),
    [
        ({"training.epoch": 3}, {}, "unknown key 'training.epoch'"),
        ({3: 4}, {}, "3 is no key of a spec"),
        ([1], {}, "a spec is a list"),
        ("none.yaml", {}, "there is no file none.yaml"),
        ({}, {"workers": 2}, "takes no workers"),
        ({}, {"address": "head"}, "takes no address"),
        ({}, {"preset": "sed"}, "no preset 'sed'"),
        ({}, {"run_id": "../x"}, "cannot be a run id"),
        ({}, {"env": {"A": "1"}}, "env applies only to a job on a cluster"),
        ({}, {"secrets": ["A"]}, "secrets applies only to a job on a cluster"),
        ({"dataset.name": "x"}, {}, "no data set 'x'"),
    ],
)
def test_what_is_refused_has_a_cause_and_a_cure_and_leaves_nothing(
    here: Path, spec: Any, options: dict[str, Any], cause: str
) -> None:
    with pytest.raises(JobError, match=cause) as refused:
        submit(spec, local=True, **options)
    assert refused.value.cure
    assert not (here / "runs").exists()


def test_an_interrupt_stops_a_run_with_a_checkpoint_from_which_it_goes_on(here: Path) -> None:
    run = train(here, **ENDLESS)

    def press() -> None:
        wait_until(lambda: run.metrics.num_rows > 2)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(InputError, match="trained in this process already"):
        train(here, "run-2")
    threading.Thread(target=press).start()
    with pytest.raises(KeyboardInterrupt):
        run.wait()
    assert (run.state, run.status.exit_code) == ("STOPPED", 130)
    with pytest.raises(JobStoppedError, match="interrupted by Ctrl-C") as stopped:
        run.wait()
    assert stopped.value.exit_code == 130
    steps = run.metrics.num_rows
    run.resume({"limits.steps": steps + 3}).wait(check=False)
    assert run.metrics["step"].to_pylist() == list(range(1, steps + 4))
    assert [found.id for found in list_runs()] == ["run-1"]


def test_a_run_is_stopped_and_a_wait_has_an_end(here: Path) -> None:
    run = train(here, **ENDLESS)
    with pytest.raises(WaitTimeoutError):
        run.wait(0.1, progress=False)
    with pytest.raises(InputError, match="has no result"):
        run.result  # noqa: B018
    with pytest.raises(InputError, match="has no report"):
        run.report()
    with pytest.raises(InputError, match="only a run that has ended can be deleted"):
        run.delete()
    wait_until(lambda: run.metrics.num_rows > 0)
    assert "step" in run._repr_html_()
    assert run.stop().wait(check=False).state == "STOPPED"
    with pytest.raises(InputError, match="has ended already"):
        run.stop()


def test_a_failed_run_raises_its_reason(here: Path) -> None:
    run = train(here, **{"training.optimizer.lr": 1e30, "training.gradient_clip": 0.0})
    with pytest.raises(JobError, match="run-1 FAILED: ") as failed:
        run.wait(progress=False)
    assert failed.value.exit_code == 1 and failed.value.cure
    assert run.wait(check=False).state == "FAILED"


def test_what_a_stranger_wrote_is_only_text(here: Path) -> None:
    run = train(here).wait(progress=False)
    folder = Storage(str(here / "runs")).child("run-1")
    status = (here / "runs" / "run-1" / "status.json").read_text()
    evil = status.replace('"reason": ""', '"reason": "<script>\\u001b[2J"')
    folder.write("status.json", evil.encode())
    assert "<script" not in run._repr_html_() and "\x1b" not in repr(run)
    folder.write(
        "metrics.jsonl",
        (here / "runs" / "run-1" / "metrics.jsonl").read_bytes()
        + b'{"kind": "step", "epoch": 9, "step": 9, "loss": 1.0, "accuracy": 1.0, '
        b'"rows": 1, "lr": 1.0, "gradient_norm": 1.0, "time": 1.0, "more": [1]}\n'
        b'{"kind": "step", "epoch": 9, "step": 9, "loss": 1.0, "accuracy": 1.0, '
        b'"rows": 1, "lr": 1.0, "gradient_norm": 1.0, "time": 1.0, "more": "x"}\n',
    )
    assert run.metrics["more"].to_pylist()[-2:] == ["[1]", "x"]
