"""Records of the clusters that `rnnjob cluster up --local` started: one JSON file per cluster.

A record exists from before the first process starts until the last one has ended. So `down` finds
every process to end, even if `up` was killed.
"""

import contextlib
import json
import os
import re
import secrets
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workers.errors import InputError, NoSuchClusterError, StorageError
from workers.storage.typed_json import Json, parse_object

SCHEMA_VERSION = 1
DEFAULT_NAME = "local"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class ProcessId:
    """A process of this machine."""

    pid: int
    started: float
    """The start time in seconds since the epoch. A later process with the same pid has another."""
    name: str = ""


@dataclass(frozen=True)
class LocalNode:
    """A Ray node and the processes that it began with. Jobs start other processes later."""

    name: str
    node_id: str
    processes: tuple[ProcessId, ...]


@dataclass(frozen=True)
class LocalCluster:
    """A cluster on one machine."""

    name: str
    address: str
    """The base URL of the cluster's dashboard; empty while the cluster starts."""
    token_path: str
    folder: str
    """The folder that holds one folder per node."""
    host: str
    created_at: float
    started_by: ProcessId
    """The process that called `up`."""
    cpus_per_node: int
    ray_version: str
    python_version: str
    nodes: tuple[LocalNode, ...] = ()
    """The nodes of the cluster; empty while the cluster starts."""

    @property
    def processes(self) -> list[ProcessId]:
        return [process for node in self.nodes for process in node.processes]

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that make plain `ray job ...` and rnnjob use this cluster."""
        return {
            "RAY_API_SERVER_ADDRESS": self.address,
            "RAY_AUTH_MODE": "token",  # without it, Ray's own client sends no token
            "RAY_AUTH_TOKEN_PATH": self.token_path,
        }

    def to_json(self) -> Json:
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, content: Json) -> "LocalCluster":
        """Read a record. Raises KeyError or TypeError if a field is missing or malformed."""
        fields = {key: content[key] for key in cls.__dataclass_fields__}
        fields["started_by"] = ProcessId(**content["started_by"])
        fields["nodes"] = tuple(_node(node) for node in content["nodes"])
        return cls(**fields)


def _node(content: Json) -> LocalNode:
    processes = tuple(ProcessId(**process) for process in content["processes"])
    return LocalNode(content["name"], content["node_id"], processes)


def state_dir() -> Path:
    """Return RNNJOB_STATE_DIR, else `rnnjob` in the user's state folder by the XDG rules."""
    if configured := os.environ.get("RNNJOB_STATE_DIR"):
        return Path(configured).expanduser().absolute()
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".local" / "state") / "rnnjob"


def check_name(name: str) -> None:
    """Raise InputError if a name is not a plain file name, or looks like a cluster file."""
    if not _NAME.fullmatch(name) or name.endswith((".yaml", ".yml")):
        raise InputError(
            f"'{name}' cannot be the name of a local cluster",
            "use letters, digits, '.', '_' and '-', beginning with a letter or digit, 64 at most, "
            "and no .yaml at the end",
        )


def claim(cluster: LocalCluster) -> None:
    """Write the record of a cluster that is about to start.

    Raises FileExistsError if the name has a record already, StorageError if writing fails.
    """
    with _temporary_record(cluster) as temporary:
        os.link(temporary, _path(cluster.name))


def update(cluster: LocalCluster) -> None:
    """Replace the record of a cluster. Raises StorageError."""
    with _temporary_record(cluster) as temporary:
        temporary.replace(_path(cluster.name))


def remove(name: str) -> None:
    _path(name).unlink(missing_ok=True)


def find(name: str) -> LocalCluster:
    """Return the cluster of that name.

    Raises:
        NoSuchClusterError: there is no such cluster; the cure lists the existing ones.
        StorageError: the record cannot be read.
    """
    cluster = _read(_path(name)) if _NAME.fullmatch(name) else None
    if cluster is None:
        known = ", ".join(names())
        raise NoSuchClusterError(
            f"no local cluster '{name}'",
            f"use one of: {known}" if known else "start one: rnnjob cluster up --local",
        )
    return cluster


def check_host(cluster: LocalCluster) -> None:
    """Raise InputError if a cluster is on another machine, which shares the folder of records."""
    if cluster.host != socket.gethostname():
        raise InputError(
            f"the local cluster '{cluster.name}' is on {cluster.host}, not on this machine",
            f"run the command on {cluster.host}, or use another name",
        )


def exists(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and _path(name).exists()


def names() -> list[str]:
    return sorted(path.stem for path in _folder().glob("*.json"))


def find_all() -> Iterator[LocalCluster]:
    """Yield all clusters. Records that cannot be read are skipped."""
    for name in names():
        with contextlib.suppress(StorageError):
            if cluster := _read(_path(name)):
                yield cluster


def find_by_address(address: str) -> LocalCluster | None:
    """Return the cluster on this machine whose dashboard has this address, or None.

    Records that cannot be read are skipped.
    """
    for cluster in find_all():
        if cluster.address == address and cluster.host == socket.gethostname():
            return cluster
    return None


def _folder() -> Path:
    return state_dir() / "clusters"


def _path(name: str) -> Path:
    return _folder() / f"{name}.json"


def _read(path: Path) -> LocalCluster | None:
    try:
        return LocalCluster.from_json(parse_object(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{path} is not a valid record of a cluster: {error}",
            "end the cluster's Ray processes by hand if it has any, and remove the file",
        ) from error


@contextlib.contextmanager
def _temporary_record(cluster: LocalCluster) -> Iterator[Path]:
    """Write a record to a temporary file in the same folder, and yield the file's path."""
    temporary = _folder() / f".{cluster.name}.{secrets.token_hex(4)}"
    try:
        _folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(temporary, json.dumps(cluster.to_json(), indent=2))
        yield temporary
    except FileExistsError:
        raise
    except OSError as error:
        raise StorageError(
            f"{_folder()} cannot be written: {error.strerror}",
            "name another folder: export RNNJOB_STATE_DIR=DIR",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_private(path: Path, text: str) -> None:
    """Write a new file that only its owner can ever read. Raises FileExistsError."""
    with open(path, "x", opener=_private_opener) as file:
        file.write(text)


def _private_opener(path: Any, flags: int) -> int:
    return os.open(path, flags, 0o600)
