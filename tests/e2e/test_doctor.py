"""The commands `rnnjob doctor` and `rnnjob export` without a cluster."""

import json
from pathlib import Path
from typing import Any

from tests.conftest import Cli


def states(document: Any) -> dict[str, str]:
    return {check["name"]: check["state"] for check in document["checks"]}


def test_this_machine_is_fit_to_train(rnnjob: Cli) -> None:
    done = rnnjob("doctor", "--dataset", "mnist-sample")
    assert done.exit_code == 0, done.stdout
    lines = done.stdout.splitlines()
    assert {line.split()[0] for line in lines} <= {"ok", "warn", "Try:"}
    for name in ("python", "package torch", "storage", "dataset mnist-sample", "ray", "precision"):
        assert any(line.startswith(f"ok   {name} ") for line in lines), name
    assert list(rnnjob.cwd.iterdir()) == []


def test_its_alias_prints_one_json_document(rnnjob: Cli) -> None:
    done = rnnjob("check", "--json")
    assert done.exit_code == 0
    assert done.json["schema_version"] == 1
    assert done.json["ok"] is True
    assert states(done.json)["dataset mnist"] == "warn"
    assert set(done.json["checks"][0]) == {"name", "state", "detail", "cure"}


def test_a_storage_that_cannot_be_written_fails_with_the_cure(rnnjob: Cli) -> None:
    (rnnjob.cwd / "file").write_text("in the way")
    done = rnnjob("doctor", "--dataset", "mnist-sample", "--storage", "file/runs")
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("fail storage"))
    assert "cannot write" in lines[at]
    assert lines[at + 1].strip().startswith("Try: ") and "--storage" in lines[at + 1]
    assert [line for line in lines if line.startswith("fail")] == [lines[at]]


def test_a_read_only_storage_fails(rnnjob: Cli) -> None:
    done = rnnjob("doctor", "--dataset", "mnist-sample", "--storage", "/proc/runs", "--json")
    assert done.exit_code == 1
    assert done.json["ok"] is False
    assert states(done.json)["storage"] == "fail"


def test_a_damaged_shard_fails_with_the_cure(rnnjob: Cli) -> None:
    cache = {"RNNJOB_CACHE_DIR": str(rnnjob.cwd / "cache")}
    made = rnnjob("data", "prepare", "--dataset", "mnist-sample", "--json", **cache)
    shard = sorted(Path(made.json["folder"]).glob("train-*.parquet"))[0]
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    done = rnnjob("doctor", "--dataset", "mnist-sample", "--json", **cache)
    assert done.exit_code == 1
    (check,) = [c for c in done.json["checks"] if c["name"] == "dataset mnist-sample"]
    assert check["state"] == "fail"
    assert shard.name in check["detail"] and "--force" in check["cure"]


def test_a_cluster_that_does_not_answer_fails_and_stops_nothing(rnnjob: Cli) -> None:
    done = rnnjob(
        "doctor", "--dataset", "mnist-sample", "--address", "http://127.0.0.1:9", "--json"
    )
    assert done.exit_code == 1
    assert states(done.json)["cluster"] == "fail"
    assert states(done.json)["ray"] == "ok"
    assert not [name for name in states(done.json) if name.startswith("node")]


def test_export_prints_a_manifest_and_nothing_else(rnnjob: Cli) -> None:
    job = ("export", "--kuberay", "--workers", "1:3", "--run-id", "first")
    done = rnnjob(*job, "--storage", "s3://bucket/runs", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["kind"] == "RayJob"
    assert all(line.startswith("note: ") for line in done.stderr.splitlines())
    text = rnnjob(*job, "--storage", "s3://bucket/runs", "--image", "a").stdout
    assert text.startswith("apiVersion: ray.io/v1\nkind: RayJob\n")
    assert "&id" not in text
    assert list(rnnjob.cwd.iterdir()) == []


def test_export_to_a_node_local_storage_is_refused(rnnjob: Cli) -> None:
    refused = rnnjob("export", "--kuberay")
    assert refused.exit_code == 2
    assert "local to a node" in refused.cause
    assert "--volume-claim" in refused.cure
    assert rnnjob("export", "--storage", "s3://bucket/runs").exit_code == 2
