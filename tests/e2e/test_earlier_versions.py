"""Run folders and cut data sets of earlier versions are read and used, and continued if the same
job still comes to the same bits."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator.cli import main
from orchestrator.datasets import manifest
from orchestrator.datasets.prepared import open_prepared
from orchestrator.runs import result, run_status
from tests.conftest import ROOT, Cli
from workers.checkpoints import stored
from workers.config import DEFINITION
from workers.storage.storage import Storage

FIXTURES = ROOT / "tests" / "fixtures"
VERSIONS = sorted(path.name for path in (FIXTURES / "runs").iterdir())
OF_DEFINITION = {1: "cea43b29bb2932d3", 2: "3231a8aa3e6be4a7"}
"""How the hash of the final weights begins on the machine that made all of these runs, by the
version of what a result is."""


def rnnjob(*arguments: str) -> Result:
    done = CliRunner().invoke(main, arguments)
    assert "Traceback" not in done.output, done.output
    return done


def json_of(*arguments: str) -> dict:
    done = rnnjob(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def definition_of(folder: Path) -> int:
    provenance = json.loads((folder / "done/provenance.json").read_text())
    return int(provenance.get("definition", 1))


@pytest.fixture(params=VERSIONS)
def folder(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    shutil.copytree(FIXTURES / "runs" / request.param, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "runs"


def test_a_run_is_listed_and_shown(folder: Path) -> None:
    states = {row["run_id"]: row for row in json_of("list")["runs"]}
    assert {run_id: row["state"] for run_id, row in states.items()} == {
        "done": "SUCCEEDED",
        "stopped": "STOPPED",
    }
    assert states["done"]["weights_sha256"].startswith(OF_DEFINITION[definition_of(folder)])
    assert states["done"]["test_accuracy"] > 0 and states["done"]["epochs"] == 3
    for verb in ("show", "status", "describe", "why", "logs"):
        for run_id in states:
            assert rnnjob(verb, run_id).exit_code == 0, (verb, run_id)
    assert "SUCCEEDED" in rnnjob("show", "done").output
    assert rnnjob("wait", "done").exit_code == 0 and rnnjob("wait", "stopped").exit_code == 130


def test_its_model_is_evaluated_and_exported_with_the_bits_that_it_had(folder: Path) -> None:
    weights = OF_DEFINITION[definition_of(folder)]
    for name in ("done", "done:best"):
        evaluated = json_of("evaluate", name)
        assert evaluated["weights_sha256"].startswith(weights)
    exported = json_of("export", "done", "--format", "safetensors", "-o", "model.safetensors")
    assert exported["weights_sha256"].startswith(weights)


def test_it_goes_on_to_the_weights_of_the_run_that_was_not_stopped(
    folder: Path, environment: dict[str, str]
) -> None:
    if definition_of(folder) != DEFINITION:
        before = (folder / "stopped/status.json").read_bytes()
        refused = rnnjob("resume", "stopped", "--local")
        assert refused.exit_code == 2
        assert "computed under version 1 of what a result is" in refused.output
        assert "rnnjob submit -c" in refused.output
        assert (folder / "stopped/status.json").read_bytes() == before
        return
    # A process of its own: it handles signals.
    done = Cli(folder.parent, environment)(
        "resume", "stopped", "--local", "--json", "--set", "limits.mixed_hardware=allow"
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    outcome = done.json
    assert (outcome["state"], outcome["steps"]) == ("SUCCEEDED", 12)
    records = [json.loads(line) for line in (folder / "stopped/metrics.jsonl").open()]
    assert [r["step"] for r in records if r["kind"] == "step"] == list(range(1, 13))
    starts = {record.get("arithmetic_sha256") for record in records if record["kind"] == "start"}
    first_line = (folder / "done/metrics.jsonl").open().readline()
    if starts <= {
        json.loads(first_line)["arithmetic_sha256"],
        None,
    }:  # this machine computes the same bits
        assert outcome["weights_sha256"].startswith(OF_DEFINITION[DEFINITION])


def test_a_cut_data_set_is_read() -> None:
    data = open_prepared(Storage(str(FIXTURES / "data" / "2026-11-23-images")))
    data.verify()
    assert (data.shape.train_rows, data.shape.validation_rows, data.shape.test_rows) == (44, 4, 16)
    assert data.table("train", 0).num_rows == 22


def test_there_is_a_fixture_of_each_version_of_each_file() -> None:
    """Whoever raises a version adds a fixture of the one before; see the README there."""
    current = {
        "status.json": run_status.SCHEMA_VERSION,
        "result.json": result.SCHEMA_VERSION,
        "state.json": stored.SCHEMA_VERSION,
    }
    for name, version in current.items():
        files = (FIXTURES / "runs").rglob(name)
        found = {json.loads(file.read_text())["schema_version"] for file in files}
        assert found >= set(range(1, version + 1)), name
    files = (FIXTURES / "data").rglob(manifest.MANIFEST)
    found = {json.loads(file.read_text())["schema_version"] for file in files}
    assert found >= set(range(1, manifest.SCHEMA_VERSION)), "the latest is what other tests cut"
