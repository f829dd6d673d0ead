"""What differs between runs, read from made-up run folders, and what `rnnjob compare` prints."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from orchestrator import runs
from orchestrator.cli import main
from orchestrator.runs import RunStatus
from orchestrator.runs.repeats import find_runs
from orchestrator.spec.job_spec import JobSpec
from tests.unit.runs.test_comparison import PROVENANCE
from workers.errors import NoSuchRunError
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage
from workers.storage.typed_json import Json


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    monkeypatch.chdir(tmp_path)
    return Storage(str(tmp_path / "runs"))


def ended(
    storage: Storage,
    run_id: str,
    accuracy: float | None = 0.9,
    weights: str | None = "ab" * 32,
    provenance: Json | None = PROVENANCE,
    state: str = runs.SUCCEEDED,
    **values: Any,
) -> RunFolder:
    """Write the folder of a run that has ended. `values`: of its spec, with __ for a dot."""
    spec = JobSpec().with_values({key.replace("__", "."): v for key, v in values.items()})
    run = runs.create_run(storage, run_id, spec.to_yaml(), "local")
    if provenance:
        run.write_json(run.PROVENANCE, provenance)
    result = {
        "run_id": run_id, "state": state, "epochs": 1, "steps": 8, "train_rows_seen": 64,
        "samples_per_s": 100.0, "workers": 1, "wall_s": 2.0, "weights_sha256": weights,
        "test_accuracy": accuracy, "test_loss": None if accuracy is None else 1 - accuracy,
        "test_rows": 10,
    }  # fmt: skip
    run.write_json(run.RESULT, result)
    runs.write_status(run, RunStatus(run_id, state, "local", exit_code=0, ended_at=2.0))
    return run


def repeats(storage: Storage, name: str, accuracies: list[float], **values: Any) -> None:
    for seed, accuracy in enumerate(accuracies):
        ended(
            storage, f"{name}-seed{seed}", accuracy, f"{name}{seed}",
            training__seed=seed, **values,
        )  # fmt: skip


def compare(*names: str) -> Result:
    return CliRunner().invoke(main, ("compare", *names))


def compared(*names: str) -> Any:
    done = compare(*names, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def keys(found: Any, section: str) -> list[str]:
    return [each["key"] for each in found["differences"][section]]


def test_nothing_differs_between_a_run_and_its_repetition(storage: Storage) -> None:
    ended(storage, "one")
    ended(storage, "two")
    found = compared("one", "two")
    assert found["weights"] == "same"
    assert not any(found["differences"].values()) and not found["noise"]
    text = compare("one", "two").stdout
    assert "weights: the same, abababababababab" in text
    assert "neither spec, data, code, packages nor hardware differ" in text


@pytest.mark.parametrize(
    ("change", "section", "key"),
    [
        ({"packages": {"torch": "2.15.0"}}, "packages", "torch"),
        ({"python": "3.13.0"}, "packages", "python"),
        ({"cpu_flags": ["avx2"]}, "hardware", "cpu_flags"),
        ({"cpu": "EPYC"}, "hardware", "cpu"),
        ({"source_sha256": "5b"}, "code", "source_sha256"),
        ({"data": {"name": "mnist", "fingerprint": "0"}}, "data", "fingerprint"),
    ],
)
def test_a_difference_in_the_origin_is_in_its_section(
    storage: Storage, change: Json, section: str, key: str
) -> None:
    known = {**PROVENANCE, "packages": {"torch": "2.9.0"}}
    ended(storage, "one", provenance=known)
    ended(storage, "two", weights="cd", provenance={**known, **change})
    found = compared("one", "two")
    assert found["weights"] == "different"
    assert {name for name, each in found["differences"].items() if each} == {section}
    assert keys(found, section) == [key]
    assert key in compare("one", "two").stdout


def test_of_lists_only_what_is_not_common_is_printed(storage: Storage) -> None:
    ended(storage, "one")
    ended(storage, "two", provenance={**PROVENANCE, "cpu_flags": ["avx2"]})
    (line,) = [line for line in compare("one", "two").stdout.splitlines() if "cpu_flags" in line]
    assert line.split(maxsplit=2) == ["cpu_flags", "avx512f", "(no more)"]


def test_only_keys_that_differ_are_told_and_names_and_places_are_not(storage: Storage) -> None:
    ended(storage, "one", name="a", training__optimizer__lr=0.1)
    ended(storage, "two", 0.8, "cd", name="b", training__optimizer__lr=0.2)
    found = compared("one", "two")
    assert found["differences"]["spec"] == [{"key": "training.optimizer.lr", "values": [0.1, 0.2]}]
    assert keys(found, "outcome") == ["test_accuracy", "test_loss"]
    assert "One run each cannot say" in compare("one", "two").stdout


def test_a_difference_beyond_the_seeds_is_more_than_noise(storage: Storage) -> None:
    repeats(storage, "high", [0.90, 0.91, 0.92, 0.90, 0.93])
    repeats(storage, "low", [0.70, 0.72, 0.71, 0.71, 0.70], training__optimizer__lr=0.5)
    found = compared("high", "low")
    assert [len(column["runs"]) for column in found["columns"]] == [5, 5]
    assert keys(found, "spec") == ["training.optimizer.lr"]
    noise = {each["metric"]: each for each in found["noise"]}
    assert noise["test_accuracy"]["more_than_noise"]
    assert noise["test_accuracy"]["mean_difference"] == pytest.approx(-0.204)
    assert noise["test_accuracy"]["paired_t_test_p"] < 1e-4
    assert noise["test_accuracy"]["sign_flip_test_p"] == 2 / 2**5
    text = compare("high", "low").stdout
    assert "paired t-test" in text and "sign-flip test" in text and "more than noise" in text
    assert "90.00%" not in text, "the means of groups, not one of their values"


def test_a_difference_among_the_seeds_is_within_the_noise(storage: Storage) -> None:
    repeats(storage, "a", [0.90, 0.95, 0.85])
    repeats(storage, "b", [0.91, 0.90, 0.90], model__cell="gru")
    assert [each["more_than_noise"] for each in compared("a", "b")["noise"]] == [False, False]
    assert "within the noise" in compare("a", "b").stdout


def test_repeats_are_paired_by_their_seeds(storage: Storage) -> None:
    repeats(storage, "a", [0.5, 0.6, 0.7])
    repeats(storage, "b", [0.4, 0.5, 0.6, 0.1], model__cell="gru")
    (accuracy, _) = compared("a", "b")["noise"]
    assert (accuracy["pairs"], accuracy["mean_difference"]) == (3, pytest.approx(-0.1))


def test_one_group_alone_is_listed_with_mean_and_spread(storage: Storage) -> None:
    repeats(storage, "a", [0.5, 0.6, 0.7])
    text = compare("a").stdout
    assert "60.00%" in text and "10.00%" in text and "a-seed2" in text
    found = compared("a")
    assert found["mean"]["test_accuracy"] == pytest.approx(0.6)
    assert [each["seed"] for each in found["runs"]] == [0, 1, 2]


def test_no_line_is_wider_than_80_columns(storage: Storage) -> None:
    for number in range(6):
        ended(
            storage, f"a-run-with-a-long-name-of-its-own-{number}", 0.5 + number / 20, str(number),
            training__optimizer__weight_decay=0.01 * number, model__hidden_size=16 + number,
        )  # fmt: skip
    names = [f"a-run-with-a-long-name-of-its-own-{number}" for number in range(6)]
    lines = compare(*names).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    headings = [line.split()[1:] for line in lines if line.startswith("spec ")]
    assert headings == [["A", "B", "C", "D"], ["A", "E", "F"]]


def test_a_name_stands_for_repeats_only_if_it_is_theirs_alone(storage: Storage) -> None:
    repeats(storage, "a", [0.5, 0.6])
    repeats(storage, "ab", [0.5, 0.6])
    ended(storage, "c-seed0")
    assert [run.run_id for run in find_runs(storage, "ab")] == ["ab-seed0", "ab-seed1"]
    assert [run.run_id for run in find_runs(storage, "a-seed1")] == ["a-seed1"]
    assert [run.run_id for run in find_runs(storage, "c")] == ["c-seed0"]
    with pytest.raises(NoSuchRunError, match="fits 4 runs"):
        find_runs(storage, "a")


def test_what_cannot_be_compared_is_told_with_a_cure(storage: Storage) -> None:
    ended(storage, "one")
    runs.create_run(storage, "two", JobSpec().to_yaml(), "local")
    going = compare("one", "two")
    assert going.exit_code == 2
    assert "two is QUEUED: it has no outcome yet" in going.stderr and "rnnjob wait two" in (
        going.stderr
    )
    alone = compare("one")
    assert (alone.exit_code, "cannot be compared" in alone.stderr) == (2, True)
    assert compare("one", "nothing").exit_code == 4


def test_a_run_without_metrics_or_provenance_is_compared_as_far_as_it_goes(
    storage: Storage,
) -> None:
    ended(storage, "one")
    ended(storage, "two", None, None, provenance=None, state=runs.FAILED)
    found = compared("one", "two")
    assert found["weights"] == "unknown"
    assert "state" in keys(found, "outcome") and not keys(found, "packages")
    text = compare("one", "two").stdout
    assert "weights: unknown, since B ended without any" in text
    assert "where two came from is unknown" in text
