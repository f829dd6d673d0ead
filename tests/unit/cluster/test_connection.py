"""The address and the token with which a cluster is reached."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.cluster import local_registry
from orchestrator.cluster.connection import Connection, connection, given_address
from orchestrator.cluster.local_registry import LocalCluster
from tests.unit.cluster.clusters import make_cluster
from workers.errors import InputError, NoSuchClusterError

Record = Callable[..., LocalCluster]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set an empty home and state folder, and remove the variables of Ray's token."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RNNJOB_STATE_DIR", str(tmp_path / "state"))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def record(home: Path) -> Record:
    def write(name: str = "local", token: str = "of-the-cluster", **fields: str) -> LocalCluster:
        path = home / f"{name}.token"
        path.write_text(token)
        cluster = replace(make_cluster(name), token_path=str(path), **fields)
        local_registry.claim(cluster)
        return cluster

    return write


def token_of(reached: Connection) -> str | None:
    value = reached.headers.get("Authorization")
    return value.removeprefix("Bearer ") if value else None


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://head:8265", "http://head:8265"),
        ("http://head:8265/", "http://head:8265"),
        ("https://proxy.example.org/ray/", "https://proxy.example.org/ray"),
        ("127.0.0.1:8299", "http://127.0.0.1:8299"),
        ("head.example.org", "http://head.example.org:8265"),
        ("[::1]:8265", "http://[::1]:8265"),
        ("  head:8265 ", "http://head:8265"),
    ],
)
def test_an_address_becomes_a_base_url(given: str, url: str) -> None:
    assert connection(given).address == url


@pytest.mark.parametrize(
    "given",
    [
        "auto",
        "ray://head:10001",
        "head:6379",
        "http://head:6379",
        "head:notaport",
        "head:99999",
        "head:0",
        "http://",
        "a b:8265",
        "head:8265\nX: y",
        "ftp://head",
    ],
)
def test_an_address_that_is_not_a_dashboards_is_refused_with_a_cure(given: str) -> None:
    with pytest.raises(InputError) as refused:
        connection(given)
    assert "8265" in refused.value.cure


def test_the_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://third:1")
    assert connection(None).address == "http://third:1"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://second:1")
    assert connection(None).address == "http://second:1"
    assert connection("http://first:1").address == "http://first:1"
    assert given_address(None) == "http://second:1"


def test_a_missing_address_is_an_error() -> None:
    assert given_address(None) is None
    with pytest.raises(InputError, match="no cluster was named"):
        connection(None)


def test_the_error_for_a_bad_address_in_the_environment_names_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    with pytest.raises(InputError, match="RAY_ADDRESS 'auto'"):
        connection(None)


def test_tokens_are_looked_up_in_order(
    home: Path, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = record().address
    assert token_of(connection("http://elsewhere:8265")) is None
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("of-the-home\n")
    assert token_of(connection("http://elsewhere:8265")) == "of-the-home"
    assert token_of(connection(address)) == "of-the-cluster"
    (home / "given").write_text("of-the-path")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(home / "given"))
    assert token_of(connection(address)) == "of-the-path"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of-the-variable")
    assert token_of(connection(address)) == "of-the-variable"


def test_a_local_cluster_is_reached_by_its_name_with_its_own_token(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = record("trial")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of-another-cluster")
    reached = connection("trial")
    assert (reached.address, token_of(reached)) == (cluster.address, "of-the-cluster")


def test_local_is_never_taken_for_a_host_name() -> None:
    with pytest.raises(NoSuchClusterError):
        connection("local")


def test_a_cluster_that_still_starts_or_is_on_another_host_is_refused(record: Record) -> None:
    record("early", address="")
    record("far", host="another-machine")
    with pytest.raises(InputError, match="not up yet"):
        connection("early")
    with pytest.raises(InputError, match="another-machine"):
        connection("far")


def test_a_token_is_never_shown(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    assert "secret" not in repr(connection("head:8265"))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret\r\nX-Header: y")
    with pytest.raises(InputError) as refused:
        connection("head:8265")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("content", [None, "", "two words", "\xff\xfe"])
def test_a_token_file_without_a_token_is_refused(
    content: str | None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = home / "token"
    if content is not None:
        path.write_text(content, encoding="latin-1")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    with pytest.raises(InputError, match=str(path)):
        connection("head:8265")
