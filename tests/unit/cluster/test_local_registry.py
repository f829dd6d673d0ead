"""The records of clusters on this machine."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.cluster import local_cluster, local_registry
from tests.unit.cluster.clusters import make_cluster
from workers.errors import InputError, NoSuchClusterError, StorageError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RNNJOB_STATE_DIR", str(tmp_path))
    return tmp_path / "clusters"


def test_a_record_is_read_as_written_and_only_by_its_owner(folder: Path) -> None:
    cluster = make_cluster()
    local_registry.claim(cluster)
    assert local_registry.find("local") == cluster
    assert stat.S_IMODE((folder / "local.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == ["local.json"]


def test_a_name_is_claimed_once() -> None:
    local_registry.claim(make_cluster())
    with pytest.raises(FileExistsError):
        local_registry.claim(make_cluster())
    local_registry.update(replace(make_cluster(), address="http://127.0.0.1:2"))
    assert local_registry.find("local").address == "http://127.0.0.1:2"


def test_the_error_for_an_unknown_cluster_lists_the_known_ones() -> None:
    with pytest.raises(NoSuchClusterError) as missing:
        local_registry.find("local")
    assert "up --local" in missing.value.cure
    local_registry.claim(make_cluster("trial"))
    with pytest.raises(NoSuchClusterError) as missing:
        local_registry.find("../trial")
    assert "trial" in missing.value.cure
    assert missing.value.exit_code == 4


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"name": "local", "nodes": 3}', "\xff"])
def test_a_damaged_record_is_an_error_and_hides_no_other_record(content: str, folder: Path) -> None:
    local_registry.claim(make_cluster("trial"))
    (folder / "local.json").write_text(content, encoding="latin-1")
    with pytest.raises(StorageError, match=r"local\.json"):
        local_registry.find("local")
    assert local_registry.find_by_address(make_cluster().address) == local_registry.find("trial")


def test_the_environment_sets_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert local_registry.state_dir() == tmp_path
    monkeypatch.delenv("RNNJOB_STATE_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", "/xdg")
    assert local_registry.state_dir() == Path("/xdg/rnnjob")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert local_registry.state_dir() == Path("/home/somebody/.local/state/rnnjob")


def test_a_folder_that_cannot_be_created_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RNNJOB_STATE_DIR", str(tmp_path / "file"))
    with pytest.raises(StorageError) as refused:
        local_registry.claim(make_cluster())
    assert "RNNJOB_STATE_DIR" in refused.value.cure


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "cluster.yaml", "x" * 65, "a b"])
def test_names_that_are_not_plain_file_names_are_refused(name: str) -> None:
    with pytest.raises(InputError):
        local_registry.check_name(name)


def test_down_of_a_cluster_that_has_ended_removes_its_record(tmp_path: Path) -> None:
    local_registry.claim(make_cluster())
    assert local_cluster.down("local").num_processes == 0
    assert not local_registry.exists("local")
    with pytest.raises(NoSuchClusterError):
        local_cluster.down("local")


def test_down_leaves_the_cluster_of_another_machine_alone() -> None:
    local_registry.claim(replace(make_cluster(), host="another-machine"))
    with pytest.raises(InputError, match="another-machine"):
        local_cluster.down("local")
    assert local_registry.exists("local")


def test_down_removes_no_folder_that_up_did_not_create(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    local_registry.claim(make_cluster(folder=str(mine)))
    local_cluster.down("local")
    assert mine.exists()
