"""The record of clusters on this machine."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.cluster import local, nodes, state
from tests.unit.clusters import a_cluster
from workers.errors import InputError, NoSuchClusterError, StorageError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RNNJOB_STATE_DIR", str(tmp_path))
    return tmp_path / "clusters"


def test_what_is_written_is_read_and_only_its_owner_can(folder: Path) -> None:
    cluster = a_cluster()
    state.claim(cluster)
    assert state.find("local") == cluster
    assert stat.S_IMODE((folder / "local.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == ["local.json"]


def test_a_name_is_claimed_once() -> None:
    state.claim(a_cluster())
    with pytest.raises(FileExistsError):
        state.claim(a_cluster())
    state.update(replace(a_cluster(), address="http://127.0.0.1:2"))
    assert state.find("local").address == "http://127.0.0.1:2"


def test_a_cluster_that_is_not_there_lists_those_that_are() -> None:
    with pytest.raises(NoSuchClusterError) as missing:
        state.find("local")
    assert "up --local" in missing.value.cure
    state.claim(a_cluster("trial"))
    with pytest.raises(NoSuchClusterError) as missing:
        state.find("../trial")
    assert "trial" in missing.value.cure
    assert missing.value.exit_code == 4


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"name": "local", "nodes": 3}', "\xff"])
def test_a_damaged_file_is_told_and_hides_no_other(content: str, folder: Path) -> None:
    state.claim(a_cluster("trial"))
    (folder / "local.json").write_text(content, encoding="latin-1")
    with pytest.raises(StorageError, match=r"local\.json"):
        state.find("local")
    assert state.at_address(a_cluster().address) == state.find("trial")


def test_the_folder_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert state.state_dir() == tmp_path
    monkeypatch.delenv("RNNJOB_STATE_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", "/xdg")
    assert state.state_dir() == Path("/xdg/rnnjob")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert state.state_dir() == Path("/home/somebody/.local/state/rnnjob")


def test_a_folder_that_cannot_be_made_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RNNJOB_STATE_DIR", str(tmp_path / "file"))
    with pytest.raises(StorageError) as refused:
        state.claim(a_cluster())
    assert "RNNJOB_STATE_DIR" in refused.value.cure


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "cluster.yaml", "x" * 65, "a b"])
def test_names_that_could_be_taken_for_something_else_are_refused(name: str) -> None:
    with pytest.raises(InputError):
        state.check_name(name)


def test_down_of_a_cluster_that_has_ended_removes_its_record(tmp_path: Path) -> None:
    state.claim(a_cluster())
    assert local.down("local").num_processes == 0
    assert not state.exists("local")
    with pytest.raises(NoSuchClusterError):
        local.down("local")


def test_down_leaves_the_cluster_of_another_machine_alone() -> None:
    state.claim(replace(a_cluster(), host="another-machine"))
    with pytest.raises(InputError, match="another-machine"):
        local.down("local")
    assert state.exists("local")


def test_down_removes_no_folder_that_up_did_not_make(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    state.claim(a_cluster(folder=str(mine)))
    local.down("local")
    assert mine.exists()


def test_the_environment_of_a_node_is_its_clusters_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of-another-cluster")
    monkeypatch.setenv("RAY_ADDRESS", "http://another:8265")
    monkeypatch.setenv("RAY_health_check_period_ms", "7")
    environment = nodes.node_environment(tmp_path, tmp_path / "token")
    assert not {"RAY_AUTH_TOKEN", "RAY_ADDRESS"} & set(environment)
    assert environment["RAY_AUTH_TOKEN_PATH"] == str(tmp_path / "token")
    assert environment["RAY_health_check_period_ms"] == "7"
