"""Ctrl-C, SIGTERM, `stop`, limits, and a process that dies: what remains, and that it goes on."""

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import ENOUGH_S, Cli, command_of
from tests.listening import are_among, listening, network_interface, open_to_the_network

EPOCHS = 15
STEPS = EPOCHS * 8  # 3,667 rows, 512 a step
JOB = ("submit", "--dataset", "mnist-sample", "--epochs", str(EPOCHS), "--run-id", "run")
ENDLESS = (*JOB, "--set", "training.epochs=500")
"""A job that does not end before the test ends it."""


def _steps(folder: Path) -> list[int]:
    try:
        lines = (folder / "metrics.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return []
    records = [json.loads(line) for line in lines if line.endswith("}")]
    return [record["step"] for record in records if record["kind"] == "step"]


def _starts(folder: Path) -> int:
    return (folder / "metrics.jsonl").read_text().count('"start"')


def _status(rnnjob: Cli) -> dict[str, Any]:
    status: dict[str, Any] = rnnjob("show", "run", "--json").json["status"]
    return status


@pytest.fixture(scope="module")
def undisturbed(module_rnnjob: Cli) -> str:
    weights: str = module_rnnjob(*JOB, "--local", "--json").json["weights_sha256"]
    return weights


def test_ctrl_c_leaves_a_checkpoint_from_which_the_run_goes_on(
    rnnjob: Cli, waiting: Callable[..., Any], undisturbed: str
) -> None:
    folder = rnnjob.cwd / "runs" / "run"
    process = rnnjob.start(*JOB, "--local")
    waiting(lambda: len(_steps(folder)) > 20)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=ENOUGH_S)
    assert process.returncode == 130
    assert "Error: STOPPED: interrupted by Ctrl-C" in stderr
    assert "rnnjob resume run" in stderr and "Traceback" not in stderr
    status = _status(rnnjob)
    assert (status["state"], status["exit_code"]) == ("STOPPED", 130)
    steps = _steps(folder)
    assert len(steps) < STEPS
    assert (folder / "checkpoints" / f"step-{steps[-1]:08d}" / "manifest.json").exists()

    resumed = rnnjob("resume", "run", "--local", "--json")
    assert resumed.exit_code == 0, resumed.stderr
    assert resumed.json["weights_sha256"] == undisturbed
    assert resumed.json["attempts"] == 2
    assert _steps(folder) == list(range(1, STEPS + 1))


def test_a_killed_process_is_told_by_all_verbs_and_the_run_goes_on_with_ray(
    rnnjob: Cli, waiting: Callable[..., Any], undisturbed: str, no_process_left: None
) -> None:
    folder = rnnjob.cwd / "runs" / "run"
    process = rnnjob.start(*JOB, "--local", "--checkpoint-every", "5")
    waiting(lambda: len(_steps(folder)) > 20)
    process.kill()
    process.communicate()
    status = _status(rnnjob)
    assert status["state"] == "LOST"
    assert "is gone without a word" in status["reason"]

    resumed = rnnjob("resume", "run", "--workers", "2", "--json")
    assert resumed.exit_code == 0, resumed.stderr
    assert resumed.json["weights_sha256"] == undisturbed
    assert _steps(folder) == list(range(1, STEPS + 1))


def test_stop_from_another_terminal_ends_with_5(rnnjob: Cli, waiting: Callable[..., Any]) -> None:
    process = rnnjob.start(*ENDLESS, "--local", "-q")
    waiting(lambda: len(_steps(rnnjob.cwd / "runs" / "run")) > 5)
    assert rnnjob("stop", "run").exit_code == 0
    process.communicate(timeout=ENOUGH_S)
    assert process.returncode == 5
    assert _status(rnnjob)["state"] == "STOPPED"


def test_sigterm_ends_with_5_and_a_checkpoint(rnnjob: Cli, waiting: Callable[..., Any]) -> None:
    process = rnnjob.start(*ENDLESS, "--local", "-q")
    waiting(lambda: len(_steps(rnnjob.cwd / "runs" / "run")) > 5)
    process.terminate()
    process.communicate(timeout=ENOUGH_S)
    assert process.returncode == 5
    assert "SIGTERM" in _status(rnnjob)["reason"]


def test_the_time_limit_ends_with_124_and_a_checkpoint(rnnjob: Cli) -> None:
    done = rnnjob(*ENDLESS, "--local", "--time", "1s")
    assert done.exit_code == 124
    assert "time limit of 1s reached" in done.stderr
    assert list((rnnjob.cwd / "runs" / "run" / "checkpoints").iterdir())


def test_a_ray_job_is_not_open_to_the_network_and_ctrl_c_ends_all_of_its_ray(
    rnnjob: Cli, waiting: Callable[..., Any], no_process_left: None
) -> None:
    folder = rnnjob.cwd / "runs" / "run"
    # As set for a real cluster: gloo would listen there.
    gloo = {"GLOO_SOCKET_IFNAME": network_interface()}
    process = rnnjob.start(*ENDLESS, "--workers", "2", **gloo)
    waiting(lambda: len(_steps(folder)) > 5)
    sockets = listening(psutil.Process(process.pid).children(recursive=True))
    assert are_among(("gcs_server", "raylet", "DashboardAgent", "RayTrainWorker"), sockets)
    assert not open_to_the_network(sockets)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=ENOUGH_S)
    assert process.returncode == 130
    assert _status(rnnjob)["state"] == "STOPPED"
    assert (folder / "checkpoints" / f"step-{_steps(folder)[-1]:08d}" / "manifest.json").exists()


def test_ctrl_c_twice_ends_a_ray_job_at_once(
    rnnjob: Cli, waiting: Callable[..., Any], no_process_left: None
) -> None:
    process = rnnjob.start(*JOB, "--workers", "1")
    waiting(lambda: (rnnjob.cwd / "runs" / "run" / "provenance.json").exists())
    process.send_signal(signal.SIGINT)
    waiting(lambda: (rnnjob.cwd / "runs" / "run" / "stop.json").exists())
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=ENOUGH_S)
    assert process.returncode == 130
    assert _status(rnnjob)["state"] == "STOPPED"


def test_a_driver_that_dies_too_often_is_a_failed_run_with_nothing_left_behind(
    rnnjob: Cli, waiting: Callable[..., Any], no_process_left: None
) -> None:
    folder = rnnjob.cwd / "runs" / "run"
    process = rnnjob.start(*JOB, "--workers", "1", "--max-failures", "0")
    waiting(lambda: (folder / "provenance.json").exists())
    os.kill(json.loads((folder / "status.json").read_text())["pid"], signal.SIGKILL)
    _, stderr = process.communicate(timeout=ENOUGH_S)
    assert process.returncode == 1
    assert "FAILED: the driver was killed by SIGKILL: failure 1, and 0 are allowed" in stderr
    assert _status(rnnjob)["state"] == "FAILED"


def test_workers_that_do_not_start_in_time_end_with_6(rnnjob: Cli, no_process_left: None) -> None:
    done = rnnjob(*JOB, "--workers", "2", "--pending-timeout", "1s")
    assert done.exit_code == 6
    assert "did not start within 1s" in done.stderr
    assert done.cure.endswith("wait longer: --pending-timeout")
    assert _status(rnnjob)["state"] == "FAILED"


def test_a_killed_client_takes_its_ray_with_it(
    rnnjob: Cli, waiting: Callable[..., Any], no_process_left: None
) -> None:
    folder = rnnjob.cwd / "runs" / "run"
    process = rnnjob.start(*ENDLESS, "--workers", "1")
    waiting(lambda: len(_steps(folder)) > 5)
    driver = psutil.Process(json.loads((folder / "status.json").read_text())["pid"])
    private_dir = Path(driver.environ()["RNNJOB_RAY_DIR"])
    process.kill()
    process.communicate()
    waiting(lambda: not driver.is_running())
    waiting(lambda: not private_dir.exists())
    status = _status(rnnjob)
    assert (status["state"], status["exit_code"]) == ("STOPPED", 5)
    assert status["reason"] == "the process that started it is gone"


@pytest.mark.long
def test_a_killed_worker_and_a_killed_driver_cost_restarts_and_no_bit(
    rnnjob: Cli, waiting: Callable[..., Any], undisturbed: str, no_process_left: None
) -> None:
    folder = rnnjob.cwd / "runs" / "run"
    process = rnnjob.start(*JOB, "--workers", "2", "--checkpoint-every", "3", "--json")
    waiting(lambda: len(_steps(folder)) > 20)
    worker = next(
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "RayTrainWorker" in " ".join(command_of(child))
    )
    worker.kill()
    waiting(lambda: _starts(folder) == 2)
    driver = json.loads((folder / "status.json").read_text())["pid"]
    assert driver != process.pid
    os.kill(driver, signal.SIGKILL)
    assert _status(rnnjob)["state"] in ("RUNNING", "RESTARTING"), "somebody starts it again"
    stdout, stderr = process.communicate(timeout=ENOUGH_S)
    assert process.returncode == 0, stderr
    result = json.loads(stdout)
    assert result["weights_sha256"] == undisturbed
    assert result["attempts"] == 3
    assert _steps(folder) == list(range(1, STEPS + 1))
    assert [epoch["rows_seen"] for epoch in result["data_account"]] == [3667] * EPOCHS
    failures = [json.loads(line) for line in (folder / "failures.jsonl").open()]
    assert [failure["kind"] for failure in failures] == ["worker", "driver"]
    assert failures[1]["reason"] == "the driver was killed by SIGKILL"


@pytest.mark.long
def test_an_error_that_would_come_again_ends_a_job_on_ray_at_once(
    rnnjob: Cli, waiting: Callable[..., Any], no_process_left: None
) -> None:
    folder = rnnjob.cwd / "runs" / "run"
    process = rnnjob.start(*ENDLESS, "--workers", "2", "--checkpoint-every", "5")
    waiting(lambda: len(_steps(folder)) > 10)
    while not (folder / "checkpoints").is_file():  # no folder, no checkpoint: as on a full disk
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        with contextlib.suppress(OSError):
            (folder / "checkpoints").write_text("")
    _, stderr = process.communicate(timeout=ENOUGH_S)
    assert process.returncode == 1, stderr
    assert "Error: FAILED: cannot " in stderr
    assert f" {os.path.realpath(folder)}/checkpoints: Not a directory" in stderr
    assert "Traceback" not in stderr
    assert _starts(folder) == 1 and not (folder / "failures.jsonl").exists()
