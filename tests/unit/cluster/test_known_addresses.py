"""The record of the clusters that the user has named."""

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.cluster import local_registry
from orchestrator.cluster.known_addresses import named_connection, recorded_connection
from tests.unit.cluster.clusters import make_cluster
from workers.errors import InputError

A, B = "http://a:8265", "http://b:8265"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "of-the-user" / "state"
    monkeypatch.setenv("RNNJOB_STATE_DIR", str(folder))
    return folder


def is_known(address: str) -> bool:
    try:
        return bool(recorded_connection(address, "r"))
    except InputError as error:
        assert error.cause == f"r names the cluster {address}, which you have not used before"
        assert error.cure == f"if you trust it: --address {address}"
        return False


def test_a_named_address_is_remembered_in_one_form(state: Path) -> None:
    assert not is_known(A) and not state.exists()
    assert named_connection(" a ").address == A
    assert is_known(A) and not is_known(B)
    named_connection(B + "/")
    named_connection(A)
    (file,) = state.iterdir()
    assert json.loads(file.read_text()) == {"schema_version": 1, "addresses": [A, B]}


def test_only_the_user_can_read_or_change_the_record(state: Path) -> None:
    named_connection(A)
    (file,) = state.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


@pytest.mark.parametrize("content", [b"", b"[]", b'{"addresses": 7}', b"\xff", b"[" * 100_000])
def test_a_damaged_record_holds_nothing_and_is_written_anew(state: Path, content: bytes) -> None:
    state.mkdir(parents=True)
    (state / "known_addresses.json").write_bytes(content)
    assert not is_known(A)
    named_connection(A)
    assert is_known(A)


def test_a_state_folder_that_cannot_be_written_does_not_stop_a_job(state: Path) -> None:
    state.parent.mkdir()
    state.write_text("a file")
    assert named_connection(A).address == A
    assert not is_known(A)


def test_a_record_that_cannot_be_replaced_is_left_whole(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named_connection(A)

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert named_connection(B).address == B
    assert is_known(A) and not is_known(B)
    assert [file.name for file in state.iterdir()] == ["known_addresses.json"]


@pytest.mark.parametrize("variable", ["RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"])
def test_the_environment_names_a_cluster_only_while_it_holds_it(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, " a ")
    assert is_known(A) and not is_known(B)
    for other in ("auto", "ray://a:10001", "127.0.0.1:6379"):
        monkeypatch.setenv(variable, other)
        assert not is_known(A)


def test_a_local_cluster_of_this_user_is_known_and_that_of_another_machine_is_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "token").write_text("of-the-cluster")
    ours = replace(make_cluster("ours"), address=A, token_path=str(tmp_path / "token"))
    local_registry.claim(ours)
    local_registry.claim(replace(ours, name="theirs", address=B, host="another"))
    assert is_known(A) and not is_known(B)
    assert recorded_connection("ours", "r").address == A


def test_a_local_cluster_that_was_used_is_known_after_its_end(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("of-the-cluster")
    cluster = replace(make_cluster("local"), address=A, token_path=str(tmp_path / "token"))
    local_registry.claim(cluster)
    named_connection("local")
    local_registry.remove("local")
    assert is_known(A)
