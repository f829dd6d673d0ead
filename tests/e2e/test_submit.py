"""One job in one process, and everything that it writes."""

import hashlib
import json
from pathlib import Path

import pytest
import safetensors.torch

from tests.conftest import Cli, Finished

CONTRACT = [
    "schema_version", "run_id", "state", "test_accuracy", "test_loss", "test_rows",
    "validation_accuracy", "epochs", "steps", "train_rows_seen", "samples_per_s", "workers",
    "precision", "weights_sha256", "wall_s",
]  # fmt: skip


@pytest.fixture(scope="module")
def done(module_rnnjob: Cli) -> Finished:
    return module_rnnjob(
        "submit", "--local", "--dataset", "mnist-sample", "--epochs", "12", "--run-id", "first",
        "--json", "--set", "dataset.test_head_rows=600",
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(done: Finished, module_rnnjob: Cli) -> Path:
    assert done.exit_code == 0, done.stderr
    return module_rnnjob.cwd / "runs" / "first"


def test_it_learns(done: Finished) -> None:
    assert done.json["test_accuracy"] > 0.9
    assert done.json["validation_accuracy"] > 0.9


def test_stdout_is_one_json_document_with_the_keys_of_the_contract(done: Finished) -> None:
    assert set(CONTRACT) <= set(done.json)
    assert done.json["state"] == "SUCCEEDED"
    assert done.json["test_rows"] == 1000
    assert done.json["epochs"] == 12
    assert done.json["steps"] == 12 * 8
    assert done.json["train_rows_seen"] == 12 * 3667


def test_result_json_is_what_was_printed(done: Finished, folder: Path) -> None:
    assert json.loads((folder / "result.json").read_text()) == done.json


def test_the_run_folder_is_complete_and_holds_no_temporary_file(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoints", "data.json", "heartbeat.json", "job.yaml", "metrics.jsonl",
        "model.safetensors", "owners", "provenance.json", "report.html", "result.json",
        "status.json", "tensorboard",
    ]  # fmt: skip
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]


def test_every_row_is_seen_once_in_each_epoch(done: Finished) -> None:
    assert done.json["data_account"] == [
        {
            "epoch": epoch,
            "rows_seen": 3667,
            "rows_seen_twice": 0,
            "rows_dropped": 0,
            "rows_not_reached": 0,
        }
        for epoch in range(1, 13)
    ]


def test_metrics_have_every_step_once(folder: Path) -> None:
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records if r["kind"] == "step"] == list(range(1, 97))
    assert [r["epoch"] for r in records if r["kind"] == "epoch"] == list(range(1, 13))
    epoch = next(r for r in records if r["kind"] == "epoch")
    assert {"train_loss", "train_accuracy", "validation_loss", "validation_accuracy",
            "samples_per_s", "data_s", "compute_s", "exchange_s"} <= set(epoch)  # fmt: skip


def test_the_confusion_matrix_adds_up(done: Finished) -> None:
    matrix = done.json["confusion_matrix"]
    assert [sum(row) for row in matrix] == [100] * 10
    right = sum(matrix[c][c] for c in range(10))
    assert right / 1000 == pytest.approx(done.json["test_accuracy"])
    for c, entry in enumerate(done.json["per_class"]):
        assert entry["recall"] == pytest.approx(matrix[c][c] / 100)
        assert entry["precision"] == pytest.approx(matrix[c][c] / sum(r[c] for r in matrix))


def test_the_accuracy_of_the_first_test_rows_is_reported_separately(done: Finished) -> None:
    assert done.json["test_head_rows"] == 600
    assert 0.85 < done.json["test_head_accuracy"] <= 1
    assert done.json["test_head_accuracy"] * 600 == pytest.approx(
        round(done.json["test_head_accuracy"] * 600)
    )


def test_the_model_file_has_the_weights_of_the_hash(done: Finished, folder: Path) -> None:
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    digest = hashlib.sha256()
    for name in sorted(weights):
        shape = ",".join(str(n) for n in weights[name].shape)
        digest.update(f"{name}\0float32\0{shape}\0".encode())
        digest.update(weights[name].numpy().astype("<f4").tobytes())
    assert digest.hexdigest() == done.json["weights_sha256"]


def test_provenance_says_where_the_result_came_from(folder: Path) -> None:
    found = json.loads((folder / "provenance.json").read_text())
    assert found["packages"]["torch"] and found["packages"]["ray"]
    assert found["precision"] in ("fp32", "bf16")
    assert found["data"]["name"] == "mnist-sample"
    assert len(found["fingerprint"]) == 64
    assert "source" in found and "working_dir" in found


def test_tensorboard_can_read_the_events(folder: Path) -> None:
    events = list((folder / "tensorboard").glob("events.out.tfevents.*"))
    assert len(events) == 1
    assert b"epoch/validation_accuracy" in events[0].read_bytes()


def test_list_and_show_read_the_run_folder(folder: Path, module_rnnjob: Cli) -> None:
    listed = module_rnnjob("list", "--json")
    assert [run["run_id"] for run in listed.json["runs"]] == ["first"]
    assert module_rnnjob("list", "-q").stdout == "first\n"
    assert module_rnnjob("ls").stdout.splitlines()[1].split()[:3] == ["first", "SUCCEEDED", "local"]
    shown = module_rnnjob("show", "fir", "--json")
    assert shown.json["result"] == json.loads((folder / "result.json").read_text())
    assert shown.json["status"]["state"] == "SUCCEEDED"
    assert len(shown.json["epochs"]) == 12
    assert "test accuracy" in module_rnnjob("show", "@last").stdout


def test_a_run_id_is_never_used_twice(folder: Path, module_rnnjob: Cli) -> None:
    before = (folder / "job.yaml").read_bytes()
    again = module_rnnjob(
        "submit", "--local", "--dataset", "mnist-sample", "--epochs", "1", "--run-id", "first"
    )
    assert again.exit_code == 2
    assert "'first' is already in" in again.cause
    assert "--run-id" in again.cure
    assert (folder / "job.yaml").read_bytes() == before


def test_a_finished_run_is_neither_stopped_nor_resumed(folder: Path, module_rnnjob: Cli) -> None:
    for verb in ("stop", "resume"):
        refused = module_rnnjob(verb, "first")
        assert refused.exit_code == 2
        assert "SUCCEEDED" in refused.cause


def test_dry_run_shows_spec_and_plan_and_writes_nothing(rnnjob: Cli) -> None:
    shown = rnnjob("submit", "--dataset", "mnist-sample", "--workers", "2", "--dry-run", "--json")
    assert shown.exit_code == 0
    assert shown.json["spec"]["scaling"]["workers"] == 2
    assert shown.json["plan"]["steps"] == shown.json["spec"]["training"]["epochs"] * 8
    assert list(rnnjob.cwd.iterdir()) == []


def test_a_dry_run_of_data_that_is_not_here_says_what_it_would_fetch_and_fetches_nothing(
    rnnjob: Cli, tmp_path: Path
) -> None:
    job = ("submit", "--local", "--dataset", "kmnist", "--dry-run")
    cache = tmp_path / "none"
    shown = rnnjob(*job, RNNJOB_CACHE_DIR=str(cache))
    assert shown.exit_code == 0, shown.stderr
    assert "kmnist is not here: 4 files, 20.3 MiB, would be downloaded from http" in shown.stderr
    assert f"into {cache}" in shown.stderr and "download:" in shown.stdout
    plan = rnnjob(*job, "--json", RNNJOB_CACHE_DIR=str(cache)).json["plan"]
    assert plan["download"]["name"] == plan["dataset"] == "kmnist"
    assert list(rnnjob.cwd.iterdir()) == []
    missing = rnnjob(*job, "--data-dir", str(cache))
    assert missing.exit_code == 2 and "does not exist" in missing.cause


def test_print_config_round_trips(rnnjob: Cli) -> None:
    first = rnnjob("submit", "--preset", "seed", "--lr", "0.5", "--print-config")
    (rnnjob.cwd / "job.yaml").write_text(first.stdout)
    again = rnnjob("submit", "-c", "job.yaml", "--print-config")
    assert again.stdout == first.stdout
    assert "lr: 0.5" in first.stdout and "steps: 20000" in first.stdout


def test_quiet_prints_the_id_only_and_print_every_prints_steps(rnnjob: Cli) -> None:
    job = ("submit", "--local", "--dataset", "mnist-sample", "--epochs", "1")
    quiet = rnnjob(*job, "--run-id", "q", "-q")
    assert (quiet.stdout, quiet.stderr) == ("q\n", "")
    steps = rnnjob(*job, "--set", "log.print_every_steps=4")
    lines = [line for line in steps.stderr.splitlines() if line.startswith("step ")]
    assert [line.split()[1] for line in lines] == ["4", "8"]
    assert all("loss" in line and "accuracy" in line for line in lines)


def test_submit_resume_takes_flags_that_do_not_change_the_result(rnnjob: Cli) -> None:
    job = ("submit", "--local", "--dataset", "mnist-sample", "--epochs", "1")
    stopped = rnnjob(*job, "--set", "limits.steps=3", "--run-id", "r", "-q")
    assert stopped.exit_code == 5
    # The environment variable applies to new runs only, so it must not affect this one.
    again = rnnjob(
        "submit", "--resume", "@last", "--keep-latest", "1", "--json", RNNJOB_DATA_DIR="/nowhere"
    )
    assert again.exit_code == 0, again.stderr
    assert (again.json["run_id"], again.json["steps"], again.json["attempts"]) == ("r", 8, 2)
    assert "keep_latest: 1\n" in (rnnjob.cwd / "runs" / "r" / "job.yaml").read_text()


def test_the_environment_names_storage_and_the_flag_beats_it(rnnjob: Cli) -> None:
    job = ("submit", "--local", "--dataset", "mnist-sample", "--epochs", "1", "-q")
    by_environment = rnnjob(*job, "--run-id", "a", RNNJOB_STORAGE="from-env")
    by_flag = rnnjob(*job, "--run-id", "b", "--storage", "from-flag", RNNJOB_STORAGE="from-env")
    assert by_environment.exit_code == by_flag.exit_code == 0
    assert (rnnjob.cwd / "from-env" / "a" / "result.json").exists()
    assert (rnnjob.cwd / "from-flag" / "b" / "result.json").exists()


def test_every_command_has_help(rnnjob: Cli) -> None:
    for words in ([], ["submit"], ["list"], ["show"], ["stop"], ["resume"], ["data"],
                  ["data", "prepare"]):  # fmt: skip
        shown = rnnjob(*words, "--help")
        assert shown.exit_code == 0
        assert len(shown.stdout.splitlines()) > 5


def test_the_outcome_goes_to_stdout_and_what_is_told_on_the_way_to_stderr(rnnjob: Cli) -> None:
    job = ("--local", "--dataset", "mnist-sample", "--set", "dataset.validation_rows=0")
    done = rnnjob("submit", *job, "--epochs", "1", "--run-id", "r")
    assert done.exit_code == 0, done.stderr
    shown = [line.split() for line in done.stdout.splitlines()]
    assert shown[:2] == [["run", "r"], ["state", "SUCCEEDED"]]
    assert "weights" in done.stdout and "epoch " not in done.stdout
    assert "epoch   1" in done.stderr and "SUCCEEDED" not in done.stderr
    longer = rnnjob("resume", "r", "--local", "--set", "training.epochs=2")
    assert longer.exit_code == 0, longer.stderr
    assert "epoch   2" in longer.stderr and "epoch   1" not in longer.stderr
    quiet = rnnjob("resume", "r", "--local", "--set", "training.epochs=3", "-q")
    assert (quiet.stdout, quiet.stderr, quiet.exit_code) == ("r\n", "", 0)
