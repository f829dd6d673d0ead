"""Each check of rnnjob doctor on its own."""

import platform
import threading
import time
from pathlib import Path

import pytest

from orchestrator.cluster.dashboard import Node
from orchestrator.datasets.prepare import prepare
from orchestrator.doctor import cluster, data, gpus, machine, packages, storage_trial
from orchestrator.doctor.check import FAIL, OK, WARN, Check, DoctorOptions, run_check
from orchestrator.doctor.examine import examine
from orchestrator.doctor.storage_trial import removing_new_folders
from tests.unit.datasets.tables.made import rows, write
from workers.errors import JobError
from workers.storage.storage import Storage


def check_named(name: str, checks: list[Check]) -> Check:
    (check,) = [check for check in checks if check.name == name]
    return check


def test_this_python_fits_and_others_do_not() -> None:
    assert packages.check_python().state == OK
    assert platform.python_version() in packages.check_python().detail
    for version in ("3.9.18", "3.14.0", "2.7.18"):
        check = packages.check_python(version)
        assert check.state == FAIL
        assert check.cure


def test_every_package_of_the_project_is_checked() -> None:
    found = {check.name: check.state for check in packages.check_packages()}
    assert {"package torch", "package ray", "package click", "package pyarrow"} <= set(found)
    assert not [name for name in found if "pytest" in name]
    assert set(found.values()) == {OK}


def test_a_package_that_is_missing_or_out_of_range_fails_with_the_command() -> None:
    missing, old, fine, elsewhere = (
        "no-such-package[extra]>=1,<2",
        "click>=99",
        "click>=8",
        "no-such-package; python_version < '3'",
    )
    found = packages.check_packages([missing, old, fine, elsewhere])
    assert [check.state for check in found] == [FAIL, FAIL, OK]
    assert found[0].cure == "pip install 'no-such-package[extra]<2,>=1'"
    assert found[1].cure == "pip install 'click>=99'"
    assert "needs >=99" in found[1].detail


def test_the_hardware_of_this_machine_is_reported() -> None:
    assert "threads" in machine.check_torch().detail
    assert "usable" in machine.check_cpus().detail
    assert "free of" in machine.check_memory().detail
    for check in (*gpus.check_gpus(), gpus.check_nccl(), machine.check_precision()):
        assert check.state == OK
    assert "auto is" in machine.check_precision().detail


def test_disk_is_measured_where_the_folder_would_be_made(tmp_path: Path) -> None:
    check = machine.check_disk("cache", tmp_path / "a" / "b")
    assert check.name == "disk: cache"
    assert str(tmp_path / "a" / "b") in check.detail
    assert not (tmp_path / "a").exists()


def test_two_processes_that_try_one_storage_leave_nothing(tmp_path: Path) -> None:
    """The second finds the folders of the first, and still uses them when the first is done."""
    storage = Storage(str(tmp_path / "new" / "runs"))
    is_begun, may_end = threading.Event(), threading.Event()

    def second() -> None:
        is_begun.wait()
        with removing_new_folders(storage):
            storage.write("second", b"")
            may_end.set()
            time.sleep(0.3)
            storage.delete_file("second")

    other = threading.Thread(target=second)
    other.start()
    with removing_new_folders(storage):
        storage.create()
        is_begun.set()
        may_end.wait()
    other.join()
    assert not (tmp_path / "new").exists()


def test_a_folder_that_somebody_uses_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_trial, "_TRIAL_S", 0.1)
    storage = Storage(str(tmp_path / "new"))
    with removing_new_folders(storage):
        storage.write("job.yaml", b"")
    assert (tmp_path / "new" / "job.yaml").exists()


def test_a_storage_is_tested_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    assert data.check_storage(str(tmp_path / "there")).state == OK
    new = data.check_storage(str(tmp_path / "new" / "runs"))
    assert new.state == OK
    assert "a job will create it" in new.detail
    assert [path.name for path in tmp_path.rglob("*") if path.name != "cache"] == ["there"]


def test_a_storage_that_cannot_be_written_is_an_error_with_a_cure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    found = run_check("storage", lambda: data.check_storage(str(tmp_path / "file" / "a")))
    assert [check.state for check in found] == [FAIL]
    assert "cannot write" in found[0].detail
    assert "--storage" in found[0].cure


def test_a_data_set_that_is_not_here_is_not_downloaded(tmp_path: Path) -> None:
    check = data.check_dataset("fashion-mnist", None, 8)
    assert check.state == WARN
    assert check.detail == "not on this machine; a job will download it"
    assert not (tmp_path / "cache").exists()


def test_a_data_folder_without_the_files_fails(tmp_path: Path) -> None:
    check = data.check_dataset("mnist", tmp_path, 8)
    assert check.state == FAIL
    assert "lacks" in check.detail and check.cure
    assert data.check_dataset("no-such-set", None, 8).state == FAIL


def test_a_data_set_is_read_to_the_last_shard() -> None:
    assert "5,000 rows in 4 shards" in data.check_dataset("mnist-sample", None, 4).detail
    prepared = prepare("mnist-sample", num_shards=4)
    shard = prepared.shards["test"][-1]["file"]
    prepared.folder.write(shard, prepared.folder.read(shard)[:-1])
    check = data.check_dataset("mnist-sample", None, 4)
    assert check.state == FAIL
    assert shard in check.detail
    assert "--force" in check.cure


def test_tables_are_opened_file_by_file(tmp_path: Path) -> None:
    path = write(tmp_path / "rows" / "a.parquet", rows(12))
    write(tmp_path / "rows" / "b.parquet", rows(12))
    name = f"parquet:{tmp_path}/rows"
    assert "24 rows in 2 Parquet files" in data.check_dataset(name, None, 8).detail
    path.write_bytes(path.read_bytes()[:-9])
    assert "cannot read a.parquet" in data.check_dataset(name, None, 8).detail
    assert data.check_dataset("parquet:nowhere", None, 8).state == FAIL


def test_a_temp_folder_whose_path_is_too_long_for_ray_is_a_warning() -> None:
    assert machine.check_temp_folder("/tmp").state == OK
    check = machine.check_temp_folder("/tmp/" + "a" * 90)
    assert check.state == WARN
    assert "characters too long" in check.detail


def test_versions_must_be_equal_on_both_sides() -> None:
    assert cluster.compare_versions("ray", "2.60.0", "2.60.0").state == OK
    assert cluster.compare_versions("ray", "2.60.0", "2.60.1").state == FAIL
    assert cluster.compare_versions("python", "3.11.7", "3.11.9").state == WARN
    other = cluster.compare_versions("python", "3.11.7", "3.12.1")
    assert other.state == FAIL
    assert "3.12.1" in other.cure


def node(cpus: float, gpus: float = 0.0) -> Node:
    return Node("ab12", "n", "10.0.0.1", True, False, "", cpus, None, gpus)


def test_nodes_are_added_up() -> None:
    check = cluster.check_resources([node(2, gpus=1), node(4)])
    assert (check.state, check.detail) == (OK, "2 nodes, 6 CPUs, 1 GPUs")
    assert cluster.check_resources([node(0)]).state == WARN


def test_a_check_that_raises_fails_and_does_not_stop_the_others() -> None:
    def breaks() -> Check:
        raise ZeroDivisionError("by hand")

    def refuses() -> Check:
        raise JobError("the cause", "the cure")

    assert run_check("a", breaks)[0].state == FAIL
    assert "ZeroDivisionError" in run_check("a", breaks)[0].detail
    assert run_check("a", refuses) == [Check("a", FAIL, "the cause", "the cure")]


def test_all_checks_run_although_several_fail(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    options = DoctorOptions(
        str(tmp_path / "file" / "runs"), "no-such-set", None, address="http://127.0.0.1:9"
    )
    found = examine(options)
    failed = [check.name for check in found if check.state == FAIL]
    assert failed == ["storage", "dataset no-such-set", "cluster"]
    assert "no cluster answers" in check_named("cluster", found).detail
    assert all(check.cure for check in found if check.state != OK)
    assert not any(check.cure for check in found if check.state == OK)
    assert check_named("ray", found).state == OK
