"""The commands `rnnjob doctor` and `rnnjob export` without a cluster."""

import hashlib
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


EXPORT = ("export", "--kuberay", "--workers", "1:3", "--run-id", "first")


def test_export_prints_a_manifest_and_nothing_else(rnnjob: Cli) -> None:
    job = (*EXPORT, "--storage", "s3://bucket/runs", "--image", "a")
    done = rnnjob(*job, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["kind"] == "RayJob"
    assert done.stderr == ""
    text = rnnjob(*job).stdout
    assert text.startswith("apiVersion: ray.io/v1\nkind: RayJob\n")
    assert "&id" not in text
    assert list(rnnjob.cwd.iterdir()) == []


def test_export_without_an_image_puts_the_code_into_the_storage_and_says_so(rnnjob: Cli) -> None:
    storage = str(rnnjob.cwd / "runs")
    done = rnnjob(*EXPORT, "--volume-claim", f"data:{rnnjob.cwd}", "--storage", storage, "--json")
    assert done.exit_code == 0
    (wheel,) = (path for path in rnnjob.cwd.rglob("*") if path.is_file())
    assert wheel.parents[1] == rnnjob.cwd / "runs" / ".code"
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() in done.stdout
    first, *others = done.stderr.splitlines()
    assert first == f"note: wrote this client's code to {wheel}"
    assert all(line.startswith("note: ") for line in others)
    assert rnnjob("list", "--storage", storage, "--json").json["runs"] == []


def test_export_of_code_to_a_volume_that_is_not_mounted_here_is_refused(rnnjob: Cli) -> None:
    mount = rnnjob.cwd / "mnt"
    claim = ("--volume-claim", f"data:{mount}", "--storage", f"{mount}/runs")
    refused = rnnjob(*EXPORT, *claim)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "not mounted on this machine" in refused.cause
    assert "--image" in refused.cure and "--storage" in refused.cure
    assert list(rnnjob.cwd.iterdir()) == []
    assert rnnjob(*EXPORT, *claim, "--image", "a").exit_code == 0


def test_export_to_a_node_local_storage_is_refused(rnnjob: Cli) -> None:
    refused = rnnjob("export", "--kuberay")
    assert refused.exit_code == 2
    assert "local to a node" in refused.cause
    assert "--volume-claim" in refused.cure
    assert rnnjob("export", "--storage", "s3://bucket/runs").exit_code == 2
