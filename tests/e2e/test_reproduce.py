"""The command `rnnjob reproduce`: a second run is equal to the bit, or the difference is named."""

import json
import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli

JOB = ("submit", "--local", "--dataset", "mnist-sample", "--epochs", "1", "-q")
NUM_STEPS = 8


@pytest.fixture(scope="module")
def storage(module_rnnjob: Cli) -> Path:
    """A storage with the complete run `first` and the run `stopped`, which ended after 3 steps."""
    assert module_rnnjob(*JOB, "--run-id", "first").exit_code == 0
    stopped = module_rnnjob(*JOB, "--run-id", "stopped", "--set", "limits.steps=3")
    assert stopped.exit_code == 5
    assert "3 steps were asked for: limits.steps" in stopped.stderr
    return module_rnnjob.cwd / "runs"


@pytest.fixture
def altered(storage: Path) -> Callable[..., str]:
    """A function that copies `first`, changes some of its files and returns the id of the copy."""

    def alter(run_id: str, **files: Callable[[str], str]) -> str:
        shutil.copytree(storage / "first", storage / run_id)
        for stem, change in files.items():
            file = next((storage / run_id).glob(f"{stem}.*"))
            file.write_text(change(file.read_text()))
        return run_id

    return alter


def with_loss_at(step: int, loss: float) -> Callable[[str], str]:
    def change(text: str) -> str:
        records = [json.loads(line) for line in text.splitlines()]
        for record in records:
            if record["kind"] == "step" and record["step"] == step:
                record["loss"] = loss
        return "".join(json.dumps(record) + "\n" for record in records)

    return change


def with_torch(version: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        content = json.loads(text)
        content["packages"]["torch"] = version
        return json.dumps(content)

    return change


def differing_names(document: Any) -> set[str]:
    """Return the names of the differences. Those of the source are left out: it may be edited."""
    return {d["what"] for d in document["differences"] if not d["what"].startswith("source")}


def test_a_complete_run_is_reproduced_with_its_weights(module_rnnjob: Cli, storage: Path) -> None:
    done = module_rnnjob("reproduce", "first", "--run-id", "twin", "--json")
    assert done.exit_code == 0, done.stderr
    found = done.json
    result = json.loads((storage / "first" / "result.json").read_text())
    assert (found["run_id"], found["again_run_id"], found["same"]) == ("first", "twin", True)
    assert (found["steps_compared"], found["first_difference"]) == (NUM_STEPS, None)
    assert found["weights"] == dict.fromkeys(("run", "again"), result["weights_sha256"])
    assert found["test_loss"] == dict.fromkeys(("run", "again"), result["test_loss"])
    assert differing_names(found) == set()
    assert json.loads((storage / "twin" / "status.json").read_text())["state"] == "SUCCEEDED"


def test_only_the_first_steps_can_be_reproduced(module_rnnjob: Cli, storage: Path) -> None:
    done = module_rnnjob("reproduce", "first", "--steps", "5")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[0] == "same: 5 step(s)"
    again = next(storage.glob("first-again-*"))
    status = json.loads((again / "status.json").read_text())
    assert (status["state"], status["exit_code"]) == ("STOPPED", 5)
    assert json.loads((again / "result.json").read_text())["steps"] == 5


def test_a_stopped_run_is_reproduced_up_to_its_last_step(module_rnnjob: Cli, storage: Path) -> None:
    done = module_rnnjob("reproduce", "stopped", "--local", "--json")
    assert done.exit_code == 0, done.stderr
    assert (done.json["same"], done.json["steps_compared"]) == (True, 3)
    assert done.json["weights"] == {"run": None, "again": None}


def test_a_run_that_ended_at_its_step_limit_is_resumed_to_its_end(
    module_rnnjob: Cli, storage: Path
) -> None:
    shutil.copytree(storage / "stopped", storage / "resumed")
    resumed = module_rnnjob("resume", "resumed", "--local", "--json")
    assert resumed.exit_code == 0, resumed.stderr
    whole = json.loads((storage / "first" / "result.json").read_text())
    assert resumed.json["weights_sha256"] == whole["weights_sha256"]


def test_another_seed_is_reported_as_a_difference(
    module_rnnjob: Cli, altered: Callable[..., str]
) -> None:
    name = altered("seeded", job=lambda text: text.replace("seed: 0", "seed: 1"))
    done = module_rnnjob("reproduce", name, "--steps", "2", "--json")
    assert done.exit_code == 1
    assert (done.json["same"], done.json["first_difference"]["step"]) == (False, 1)
    assert differing_names(done.json) == {"seed", "fingerprint"}
    seeds = next(d for d in done.json["differences"] if d["what"] == "seed")
    assert (seeds["run"], seeds["again"]) == (0, 1)


def test_a_record_that_was_changed_is_reported_at_its_step(
    module_rnnjob: Cli, altered: Callable[..., str]
) -> None:
    name = altered("tampered", metrics=with_loss_at(3, 0.125), provenance=with_torch("1.0.0"))
    done = module_rnnjob("reproduce", name, "--steps", "4")
    assert done.exit_code == 1
    lines = [line.split() for line in done.stdout.splitlines()]
    assert done.stdout.startswith("differs: first at step 3\n")
    assert lines[2][:2] == ["loss", "0.125"]
    assert ["packages.torch", "1.0.0", metadata.version("torch")] in lines
    assert "Error" not in done.stderr


def test_a_second_run_that_is_refused_gives_no_verdict_but_an_exit_code(
    module_rnnjob: Cli, storage: Path
) -> None:
    before = sorted(storage.iterdir())
    gpu = ("--gpus-per-worker", "1", "--steps", "1", "-q")
    done = module_rnnjob("reproduce", "first", *gpu, CUDA_VISIBLE_DEVICES="")
    assert (done.exit_code, done.stdout) == (6, "")
    assert "the job wants a GPU" in done.cause
    assert sorted(storage.iterdir()) == before
