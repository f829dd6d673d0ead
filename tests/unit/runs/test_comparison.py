"""The comparison of two runs of one spec, and the command `rnnjob reproduce`."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import runs
from orchestrator.cli import main
from orchestrator.runs import RunStatus
from orchestrator.runs.comparison import (
    Comparison,
    Trace,
    again_id,
    compare,
    facts_of,
    steps_to_run,
    trace_of,
)
from orchestrator.runs.provenance import provenance
from orchestrator.spec.job_spec import JobSpec
from orchestrator.spec.plan import make_plan
from tests.unit.fakes import tiny_spec
from tests.unit.runs import whole_records
from workers.errors import InputError
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage
from workers.storage.typed_json import Json

NUM_STEPS = 6
PROVENANCE: Json = {
    "rnnjob": "1.0.0",
    "source": {"commit": "c0ffee", "dirty": False},
    "source_sha256": "5a",
    "working_dir": {"commit": "1", "dirty": True},
    "python": "3.12.1",
    "packages": {"torch": "2.9.0", "torchvision": None},
    "platform": "Linux",
    "cpu": "Xeon",
    "cpu_flags": ["avx2", "avx512f"],
    "cpu_capability": "AVX512",
    "num_cpus": 2,
    "gpus": [],
    "mode": "local",
    "seed": 0,
    "precision": "fp32",
    "data": {"name": "mnist", "fingerprint": "da7a"},
    "training": {"gradients": "exact", "steps": None, "optimizer": {"lr": 0.01}},
    "fingerprint": "f1",
}


def step(number: int, **values: Any) -> Json:
    content = {"loss": 1 / number, "accuracy": 0.5, "rows": 64, "lr": 0.1, "gradient_norm": 1.5}
    return whole_records.step(number, **{**content, **values})


def trace(
    steps: int = NUM_STEPS,
    weights: str | None = "ab",
    facts: Json | None = None,
    **changed: Json,
) -> Trace:
    """Return the trace of a run. `changed`: for each `step_N`, the changed values of that step."""
    return Trace(
        "run",
        {n: step(n, **changed.get(f"step_{n}", {})) for n in range(1, steps + 1)},
        {"weights_sha256": weights, "test_loss": 0.25 if weights else None},
        facts_of(PROVENANCE if facts is None else facts, 1),
    )


def compared(
    run: Trace, again: Trace, state: str = runs.SUCCEEDED, until: int = NUM_STEPS
) -> Comparison:
    return compare(run, again, RunStatus("again", state), until)


def test_equal_runs_are_the_same_whatever_time_they_took() -> None:
    found = compared(trace(), trace(step_2={"time": 99.0}))
    assert (found.same, found.differs, found.steps_compared) == (True, False, NUM_STEPS)
    assert (found.first_step, found.step_values, found.differences) == (None, {}, {})


@pytest.mark.parametrize("name", ["loss", "accuracy", "rows", "lr", "gradient_norm"])
def test_the_last_bit_of_any_number_of_a_step_makes_a_difference(name: str) -> None:
    value = step(3)[name]
    other = value + 1 if name == "rows" else value * (1 + 2**-52)
    found = compared(trace(), trace(step_3={name: other}, step_5={"loss": 9.0}))
    assert (found.same, found.differs, found.first_step) == (False, True, 3)
    assert found.step_values == {name: (value, other)}


@given(st.integers(1, NUM_STEPS), st.integers(1, NUM_STEPS), st.integers(1, NUM_STEPS))
def test_only_steps_that_were_asked_for_count(changed: int, until: int, of_run: int) -> None:
    again = trace(until, weights=None, **{f"step_{changed}": {"loss": -1.0}})
    found = compared(trace(of_run), again, runs.STOPPED, until)
    assert found.steps_compared == min(until, of_run)
    assert found.first_step == (changed if changed <= min(until, of_run) else None)
    assert found.same == (found.first_step is None)


@pytest.mark.parametrize("state", [runs.STOPPED, runs.FAILED])
def test_a_second_run_that_did_not_come_far_enough_decides_nothing(state: str) -> None:
    found = compared(trace(), trace(2, weights=None), state)
    assert (found.same, found.differs) == (False, False)
    assert (found.steps_compared, found.steps_wanted) == (2, NUM_STEPS)


def test_a_second_run_that_failed_after_its_last_step_is_not_the_same() -> None:
    found = compared(trace(), trace(weights=None), runs.FAILED)
    assert (found.same, found.differs) == (False, False)


def test_other_weights_after_the_same_steps_are_a_difference() -> None:
    found = compared(trace(), trace(weights="cd"))
    assert (found.same, found.differs, found.first_step) == (False, True, None)
    assert found.differing_outcome == {"weights_sha256": ("ab", "cd")}
    assert compared(trace(weights=None), trace(weights="cd")).same


@pytest.mark.parametrize(
    ("change", "key", "pair"),
    [
        ({"source": {"commit": "beef", "dirty": False}}, "source.commit", ("c0ffee", "beef")),
        ({"source": {"commit": "c0ffee", "dirty": True}}, "source.dirty", (False, True)),
        ({"source_sha256": "5b"}, "source_sha256", ("5a", "5b")),
        ({"rnnjob": "1.0.1"}, "rnnjob", ("1.0.0", "1.0.1")),
        ({"python": "3.13.0"}, "python", ("3.12.1", "3.13.0")),
        ({"cpu": "EPYC"}, "cpu", ("Xeon", "EPYC")),
        ({"cpu_flags": ["avx2"]}, "cpu_flags", (["avx2", "avx512f"], ["avx2"])),
        ({"gpus": ["A100"]}, "gpus", ([], ["A100"])),
        ({"precision": "bf16"}, "precision", ("fp32", "bf16")),
        ({"seed": 1}, "seed", (0, 1)),
        ({"data": {"fingerprint": "0"}}, "data.fingerprint", ("da7a", "0")),
        (
            {"packages": {"torch": "2.9.0", "torchvision": "1"}},
            "packages.torchvision",
            (None, "1"),
        ),
        ({"training": {"optimizer": {"lr": 0.1}}}, "training.optimizer.lr", (0.01, 0.1)),
        ({"training": {"steps": 8}}, "training.steps", (None, 8)),
    ],
)
def test_a_difference_in_the_origin_of_the_runs_is_named(
    change: Json, key: str, pair: tuple[Any, Any]
) -> None:
    found = compared(trace(), trace(facts={**PROVENANCE, **change}))
    assert found.differences == {key: pair}
    assert found.same, "a different origin alone does not make the runs different"


@pytest.mark.parametrize(
    "change",
    [{"mode": "ray"}, {"working_dir": None}, {"num_cpus": 9}, {"source": None},
     {"cpu_capability": None}],
)  # fmt: skip
def test_the_place_of_a_run_and_unknown_facts_are_no_differences(change: Json) -> None:
    assert not compared(trace(), trace(facts={**PROVENANCE, **change})).differences


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (("f1", "r1"), ("f1", "r1"), ""),
        (
            ("f1", "r1"),
            ("f2", "r1"),
            "the data are the same rows, in another order or other splits",
        ),
        (("f1", "r1"), ("f2", "r2"), "the data are other rows"),
        (("f1", ""), ("f2", ""), ""),
        (("f1", None), ("f2", "r2"), ""),
    ],
)
def test_it_is_said_whether_other_data_are_the_same_rows(
    first: tuple[str, str | None], second: tuple[str, str | None], words: str
) -> None:
    traces = [
        trace(facts={**PROVENANCE, "data": {"fingerprint": fingerprint, "rows_digest": digest}})
        for fingerprint, digest in (first, second)
    ]
    assert compared(*traces).about_rows == words


def test_the_number_of_workers_counts_if_gradients_are_fused() -> None:
    fused = {**PROVENANCE, "training": {"gradients": "fused"}}
    one, two = (Trace(str(n), {1: step(1)}, {}, facts_of(fused, n)) for n in (1, 2))
    assert compared_facts(one, two) == {"workers": (1, 2)}
    exact = [Trace(str(n), {1: step(1)}, {}, facts_of(PROVENANCE, n)) for n in (1, 2)]
    assert compared_facts(*exact) == {}


def compared_facts(run: Trace, again: Trace) -> dict[str, tuple[Any, Any]]:
    return compare(run, again, RunStatus("again", runs.SUCCEEDED), 1).differences


def test_without_a_provenance_the_differences_are_unknown() -> None:
    assert compared(trace(), trace()).facts_known
    assert not compared(trace(), trace(facts={})).facts_known


def test_the_document_has_the_keys_of_the_contract() -> None:
    facts = {**PROVENANCE, "python": "3.13.0"}
    found = compared(trace(), trace(weights=None, facts=facts, step_2={"lr": 0.2})).to_json()
    assert json.loads(json.dumps(found)) == {
        "schema_version": 1,
        "run_id": "run",
        "again_run_id": "run",
        "again_state": "SUCCEEDED",
        "same": False,
        "steps_wanted": NUM_STEPS,
        "steps_compared": NUM_STEPS,
        "first_difference": {"step": 2, "values": {"lr": [0.1, 0.2]}},
        "weights": {"run": "ab", "again": None},
        "test_loss": {"run": 0.25, "again": None},
        "differences": [{"what": "python", "run": "3.12.1", "again": "3.13.0"}],
    }


def test_all_recorded_steps_are_run_again_unless_fewer_are_asked_for() -> None:
    assert steps_to_run(trace(4), None) == 4
    assert steps_to_run(trace(4), 3) == 3
    with pytest.raises(InputError, match="run has 4 steps on record"):
        steps_to_run(trace(4), 5)
    with pytest.raises(InputError, match="no step on record"):
        steps_to_run(trace(0), None)


@given(st.integers(1, 128))
def test_the_id_of_a_second_run_is_a_valid_one(length: int) -> None:
    run_id = again_id("r" * length)
    runs.check_run_id(run_id)
    assert run_id != again_id("r" * length)
    assert run_id.startswith("r" * min(length, 100)) and "-again-" in run_id


def test_the_provenance_that_a_run_writes_can_be_compared(tmp_path: Path) -> None:
    spec = tiny_spec(tmp_path, **{"training.seed": 3})
    run = runs.create_run(Storage(spec.storage), "r", spec.to_yaml(), "local")
    job = make_plan(run, spec, 1, lambda gpu: "fp32").job
    run.write_json(run.PROVENANCE, provenance(job, "local", tmp_path, {}))
    facts = trace_of(run).facts
    assert len(facts["source_sha256"]) == 64
    assert (facts["seed"], facts["precision"]) == (3, "fp32")
    assert facts["model.hidden_size"] == spec.model.hidden_size
    assert facts["training.optimizer.lr"] == spec.training.optimizer.lr
    assert facts["augment.shift_px"] == 0
    assert facts["data.fingerprint"] == job.data.fingerprint
    assert facts["packages.torch"] and facts["cpu"]
    assert {"cpu_flags", "cpu_capability"} <= set(facts), "torch is loaded here"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run that has recorded one step."""
    monkeypatch.chdir(tmp_path)
    run = runs.create_run(Storage(str(tmp_path / "runs")), "r", JobSpec().to_yaml(), "local")
    run.storage.write(run.METRICS, (json.dumps(step(1)) + "\n").encode())
    return run


def rnnjob(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize("flag", [("--workers", "2"), ("--address", "http://head:8265")])
def test_local_takes_neither_workers_nor_an_address(run: RunFolder, flag: tuple[str, str]) -> None:
    refused = rnnjob("reproduce", "r", "--local", *flag)
    assert refused.exit_code == 2
    assert "neither --workers nor --address" in refused.stderr


def test_an_incomplete_run_is_refused_and_leaves_no_second_run(run: RunFolder) -> None:
    run.storage.delete_file(run.JOB)
    refused = rnnjob("reproduce", "r")
    assert refused.exit_code == 2
    assert "job.yaml is missing" in refused.stderr and "Try: " in refused.stderr
    run.storage.delete_file(run.METRICS)
    refused = rnnjob("reproduce", "r")
    assert refused.exit_code == 2 and "no step on record" in refused.stderr
    assert rnnjob("reproduce", "nothing").exit_code == 4
    assert rnnjob("reproduce", "r", "--steps", "0").exit_code == 2
    assert Storage(str(run.storage.parent_uri)).list() == ["r"]


def test_missing_data_is_reported_and_leaves_no_second_run(run: RunFolder) -> None:
    spec = JobSpec().with_values({"dataset.data_dir": "/nowhere"})
    run.storage.write(run.JOB, spec.to_yaml().encode())
    refused = rnnjob("reproduce", "r")
    assert refused.exit_code == 2
    assert "/nowhere does not exist" in refused.stderr
    assert Storage(str(run.storage.parent_uri)).list() == ["r"]


def test_help_says_where_the_second_run_runs_and_names_the_exit_codes() -> None:
    shown = rnnjob("reproduce", "--help").stdout
    assert "RUN" in shown and "--storage" in shown and "--json" in shown
    assert "without Ray: the default" in shown and "Exit code 0" in shown
