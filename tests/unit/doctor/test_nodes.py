"""How the doctor turns the reports of a cluster's nodes into checks."""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cluster.dashboard import Node
from orchestrator.cluster.ray_jobs_api import RayJob
from orchestrator.doctor import node_report
from orchestrator.doctor.ask_nodes import checks_from_job
from orchestrator.doctor.check import FAIL, OK, WARN, Check, DoctorOptions
from orchestrator.doctor.data import Shard, load_shard
from orchestrator.doctor.node_job import read_reports
from orchestrator.doctor.node_report import (
    DRIVER,
    NodeReport,
    StorageTask,
    make_report,
    without_process_details,
)
from orchestrator.doctor.nodes import judge_reports, versions_here
from orchestrator.launch.short_job import EndedJob
from workers.storage.storage import Storage

GIB = 2**30
SHARD = Shard("mnist-sample", b"PAR1")
FINE = NodeReport(
    place=DRIVER,
    versions=versions_here(),
    temp_dir="/tmp/ray",
    disk_free=50 * GIB,
    memory_free=8 * GIB,
    shard_sha256=hashlib.sha256(SHARD.content).hexdigest(),
)


def node(name: str, node_id: str = "", gpus: float = 0.0) -> Node:
    return Node(node_id or name, name, "10.0.0.1", True, False, "", 1.0, None, gpus)


def judged(*reports: NodeReport, gpus: float = 0.0) -> dict[str, Check]:
    """Return the checks of a cluster with the nodes a, b and c, by name.

    The driver and each node report FINE unless `reports` has another report of theirs.
    """
    by_place = {place: replace(FINE, place=place) for place in (DRIVER, "a", "b", "c")}
    by_place |= {report.place: report for report in reports}
    nodes = [node(name, gpus=gpus) for name in "abc"]
    checks = judge_reports(list(by_place.values()), nodes, SHARD, "within 4 s")
    assert all(bool(check.cure) == (check.state != OK) for check in checks)
    return {check.name: check for check in checks}


def b(**changes: Any) -> NodeReport:
    return replace(FINE, place="b", **changes)


def test_nodes_that_agree_take_one_line_for_each_check() -> None:
    lines = judged()
    assert list(lines) == [
        f"nodes: {what}"
        for what in ("answer", "storage", "data", "packages", "gpus", "nccl", "disk", "memory")
    ]
    assert {check.state for check in lines.values()} == {OK}
    assert all(check.detail.startswith("driver and all 3 nodes: ") for check in lines.values())
    assert lines["nodes: memory"].detail.endswith("at least 8.0 GiB free")


def test_a_node_that_cannot_write_the_storage_has_a_line_of_its_own() -> None:
    lines = judged(b(storage_error="cannot write /runs: Read-only file system"))
    assert lines["nodes: storage"].state == OK
    assert lines["nodes: storage"].detail.startswith("driver and 2 of 3 nodes: ")
    assert lines["node b: storage"].state == FAIL
    assert "Read-only" in lines["node b: storage"].detail


def test_an_error_that_all_nodes_share_takes_one_line() -> None:
    broken = [replace(FINE, place=p, storage_error="no such bucket") for p in (DRIVER, *"abc")]
    lines = judged(*broken)
    assert lines["nodes: storage"].state == FAIL
    assert lines["nodes: storage"].detail == "driver and all 3 nodes: no such bucket"
    assert not [name for name in lines if name.startswith("node ")]


def test_another_storage_of_the_same_name_is_not_shared_storage() -> None:
    lines = judged(b(shard_sha256=""))
    assert lines["node b: data"].state == FAIL
    assert "is not there" in lines["node b: data"].detail
    assert "all nodes see" in lines["node b: data"].cure
    assert lines["nodes: storage"].detail.startswith("driver and all 3 nodes")
    assert judged(b(shard_sha256="0" * 64))["node b: data"].state == FAIL
    unreadable = judged(b(shard_error="pyarrow cannot read it: zstd is missing"))
    assert "zstd" in unreadable["node b: data"].detail


def test_a_missing_package_fails_with_the_command() -> None:
    here = versions_here()
    versions = {name: version for name, version in here.items() if name != "torch"}
    line = judged(b(versions=versions, not_importable={"torch": "ImportError: libcudart"}))[
        "node b: packages"
    ]
    assert line.state == FAIL
    assert line.detail == "torch cannot be imported: ImportError: libcudart"
    assert line.cure == f"run there: pip install torch=={here['torch']}"


def with_versions(place: str, **versions: str) -> NodeReport:
    return replace(FINE, place=place, versions={**FINE.versions, **versions})


def test_versions_differ_between_nodes_or_from_here() -> None:
    other_build = with_versions("b", torch=FINE.versions["torch"] + "+cpu")
    assert "node b: packages" not in judged(other_build)
    line = judged(with_versions("b", torch="2.14.99"))["node b: packages"]
    assert line.state == FAIL and "elsewhere on the cluster" in line.detail
    everywhere = judged(*(with_versions(p, torch="2.14.99") for p in (DRIVER, *"abc")))
    assert everywhere["nodes: packages"].state == WARN
    assert f"but {FINE.versions['torch']} on this machine" in everywhere["nodes: packages"].detail
    too_old = judged(*(with_versions(p, numpy="1.26.4") for p in (DRIVER, *"abc")))
    assert too_old["nodes: packages"].state == FAIL
    assert "rnnjob needs" in too_old["nodes: packages"].detail
    python = judged(*(with_versions(p, python="3.11.99") for p in (DRIVER, *"abc")))
    assert "install Python" in python["nodes: packages"].cure


def test_gpus_that_ray_offers_and_torch_does_not_see_fail() -> None:
    with_gpu = [replace(FINE, place=p, gpus=["A100"], nccl="2.27.3") for p in "abc"]
    lines = judged(*with_gpu, gpus=1)
    assert lines["nodes: gpus"].detail == "all 3 nodes: 1 GPUs: A100"
    assert lines["driver: gpus"].state == OK
    assert lines["nodes: nccl"].detail == "all 3 nodes: NCCL 2.27.3"
    blind = judged(*with_gpu, b(has_nvidia_driver=True), gpus=1)["node b: gpus"]
    assert (blind.state, blind.detail) == (FAIL, "Ray offers 1 GPUs, torch sees 0")
    assert judged(b(has_nvidia_driver=True))["node b: gpus"].state == WARN


@pytest.mark.parametrize("nccl", ["", "2.26.0"])
def test_nodes_with_gpus_must_have_the_same_nccl(nccl: str) -> None:
    with_gpu = [replace(FINE, place=p, gpus=["A100"], nccl="2.27.3") for p in "abc"]
    lines = judged(*with_gpu, b(gpus=["A100"], nccl=nccl), gpus=1)
    assert lines["node b: nccl"].state == FAIL
    assert lines["nodes: nccl"].detail == "2 of 3 nodes: NCCL 2.27.3"


def test_a_node_with_little_disk_or_memory_has_a_line_of_its_own() -> None:
    lines = judged(b(disk_free=GIB // 100, memory_free=GIB))
    assert lines["node b: disk"].state == FAIL and "/tmp/ray" in lines["node b: disk"].detail
    assert lines["node b: memory"].state == WARN
    assert lines["nodes: disk"].detail.endswith("at least 50.0 GiB free in Ray's folder")


def test_a_node_that_does_not_answer_is_named() -> None:
    nodes = [node("a"), node("b"), node("b", node_id="c" * 56)]
    reports = [FINE, replace(FINE, place="a"), NodeReport("b", error="NodeDiedError: gone")]
    lines = {check.name: check for check in judge_reports(reports, nodes, SHARD, "within 60 s")}
    assert lines["node b b: answer"].detail == "NodeDiedError: gone"
    silent = lines[f"node b {'c' * 12}: answer"]
    assert (silent.state, silent.detail) == (FAIL, "no answer within 60 s")
    assert lines["nodes: answer"].detail == "driver and 1 of 3 nodes: answered within 60 s"
    assert lines["nodes: storage"].detail.startswith("driver and the only node: ")


def test_a_node_that_joined_meanwhile_is_judged_too() -> None:
    late = replace(FINE, place="d" * 56, memory_free=GIB)
    checks = judge_reports([FINE, replace(FINE, place="a"), late], [node("a")], None, "within 4 s")
    assert [c.name for c in checks if c.state == WARN] == [f"node {'d' * 12}: memory"]
    assert not [check for check in checks if "data" in check.name]


def test_a_process_makes_its_report_and_leaves_the_storage_as_it_was(tmp_path: Path) -> None:
    shard = load_shard(DoctorOptions(str(tmp_path / "runs"), "mnist"))
    assert shard.dataset == "mnist-sample"  # mnist itself would be a download
    task = StorageTask(str(tmp_path / "runs"), ".doctor", "shard.parquet")
    assert make_report("n", str(tmp_path), task).shard_sha256 == ""
    assert not (tmp_path / "runs").exists()
    Storage(task.storage).child(task.folder).write(task.shard, shard.content)
    report = make_report("n", str(tmp_path), task)
    assert report.storage_error == report.shard_error == ""
    assert report.shard_sha256 == hashlib.sha256(shard.content).hexdigest()
    assert report.versions.keys() == versions_here().keys()
    assert report.disk_free > 0 and report.memory_free > 0
    assert [path.name for path in (tmp_path / "runs").rglob("*.*")] == [".doctor", "shard.parquet"]
    Storage(task.storage).child(task.folder).write(task.shard, b"no Parquet")
    assert "cannot read it" in make_report("n", str(tmp_path), task).shard_error
    (tmp_path / "file").write_text("in the way")
    blocked = make_report("n", str(tmp_path), replace(task, storage=str(tmp_path / "file")))
    assert blocked.storage_error == f"cannot write {tmp_path}/file/.doctor: Not a directory"


def test_an_error_reads_the_same_on_every_node() -> None:
    causes = [
        f"cannot write s3://b/runs/.doctor/{place}: no such bucket (Request ID: {place}4711)"
        for place in ("abc", "def")
    ]
    assert without_process_details(causes[0], "abc") == without_process_details(causes[1], "def")


def test_a_package_that_fails_at_import_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "brittle.py").write_text("raise RuntimeError('built for another numpy')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(node_report, "PACKAGES", ("numpy", "brittle", "no_such_package"))
    report = make_report("n", str(tmp_path), StorageTask(str(tmp_path), ".doctor", ""))
    assert set(report.versions) == {"python", "numpy"}
    assert report.not_importable["brittle"] == "RuntimeError: built for another numpy"
    assert report.not_importable["no_such_package"].startswith("ModuleNotFoundError")


def printed(report: NodeReport) -> str:
    return f"rnnjob-node-report {json.dumps(asdict(report))}\n"


def test_reports_are_found_among_other_lines() -> None:
    log = f"a warning\n{printed(FINE)}(raylet) more {printed(FINE)}"
    assert read_reports(log) == [FINE]


def test_a_job_without_reports_is_one_failed_check() -> None:
    traceback = "Traceback ...\nModuleNotFoundError: No module named 'ray'\n"
    for ended, detail in [
        (EndedJob(RayJob("FAILED", traceback), "", 3.2, True), "FAILED after 3 s: ModuleNotFoundE"),
        (EndedJob(RayJob("PENDING"), "no report", 60.0, True), "PENDING after 60 s"),
        (EndedJob(None, "", 9.0, True), "lost"),
    ]:
        (check,) = checks_from_job("rnnjob-doctor-1", ended, [node("a")], SHARD)
        assert (check.name, check.state) == ("nodes", FAIL)
        assert detail in check.detail and "--no-probe" in check.cure


def test_a_job_that_fails_late_or_cannot_be_removed_has_a_line_beside_its_reports() -> None:
    log = printed(FINE) + printed(replace(FINE, place="a"))
    failed = EndedJob(RayJob("FAILED", "OSError: by hand"), log, 4.0, False)
    first, *others, left = checks_from_job("rnnjob-doctor-1", failed, [node("a")], SHARD)
    assert first.state == FAIL and "OSError: by hand" in first.detail
    assert len(others) == 8
    assert left.state == WARN and "ray job delete rnnjob-doctor-1" in left.cure
