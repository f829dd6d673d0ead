"""What is known of the clusters that `rnnjob cluster up --local` started: one JSON file each.

The file is there from before the first process starts until the last one is gone, so whatever
happens to `up`, `down` finds what to end.
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
from workers.jsons import Json, parse_object

SCHEMA_VERSION = 1
DEFAULT_NAME = "local"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class ProcessId:
    """A process of this machine. Its start tells it from a later one that got the same id."""

    pid: int
    started: float
    name: str = ""


@dataclass(frozen=True)
class LocalNode:
    """A Ray node and the processes it began with; jobs add others."""

    name: str
    node_id: str
    processes: tuple[ProcessId, ...]


@dataclass(frozen=True)
class LocalCluster:
    """A cluster on this machine. While it starts, `address` is empty and there are no nodes."""

    name: str
    address: str
    token_path: str
    folder: str
    host: str
    created_at: float
    started_by: ProcessId
    cpus_per_node: int
    ray_version: str
    python_version: str
    nodes: tuple[LocalNode, ...] = ()

    @property
    def processes(self) -> list[ProcessId]:
        return [process for node in self.nodes for process in node.processes]

    @property
    def environment(self) -> dict[str, str]:
        """What makes plain `ray job ...` and rnnjob use this cluster."""
        return {
            "RAY_API_SERVER_ADDRESS": self.address,
            "RAY_AUTH_MODE": "token",  # without it Ray's own client sends no token
            "RAY_AUTH_TOKEN_PATH": self.token_path,
        }

    def to_json(self) -> Json:
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, content: Json) -> "LocalCluster":
        """Raises KeyError or TypeError where something is missing or of the wrong form."""
        fields = {key: content[key] for key in cls.__dataclass_fields__}
        fields["started_by"] = ProcessId(**content["started_by"])
        fields["nodes"] = tuple(_node(node) for node in content["nodes"])
        return cls(**fields)


def _node(content: Json) -> LocalNode:
    processes = tuple(ProcessId(**process) for process in content["processes"])
    return LocalNode(content["name"], content["node_id"], processes)


def state_dir() -> Path:
    """RNNJOB_STATE_DIR, else the user's state folder by the XDG rules."""
    if own := os.environ.get("RNNJOB_STATE_DIR"):
        return Path(own).expanduser().absolute()
    base = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".local" / "state") / "rnnjob"


def check_name(name: str) -> None:
    """Raises InputError where the name could leave the folder or be taken for something else."""
    if not _NAME.fullmatch(name) or name.endswith((".yaml", ".yml")):
        raise InputError(
            f"'{name}' cannot be the name of a local cluster",
            "use letters, digits, '.', '_' and '-', beginning with a letter or digit, 64 at most, "
            "and no .yaml at the end",
        )


def claim(cluster: LocalCluster) -> None:
    """Writes the file of a cluster that is about to start. Raises FileExistsError if there is one,
    StorageError where it cannot be written."""
    with _written(cluster) as beside:
        os.link(beside, _path(cluster.name))


def update(cluster: LocalCluster) -> None:
    with _written(cluster) as beside:
        beside.replace(_path(cluster.name))


def remove(name: str) -> None:
    _path(name).unlink(missing_ok=True)


def find(name: str) -> LocalCluster:
    """The cluster of that name.

    Raises:
        NoSuchClusterError: there is none; the cure lists those that are.
        StorageError: its file cannot be read.
    """
    cluster = _read(_path(name)) if _NAME.fullmatch(name) else None
    if cluster is None:
        known = ", ".join(names())
        raise NoSuchClusterError(
            f"no local cluster '{name}'",
            f"there is: {known}" if known else "rnnjob cluster up --local starts one",
        )
    return cluster


def check_host(cluster: LocalCluster) -> None:
    """Raises InputError on another machine that shares the folder of states."""
    if cluster.host != socket.gethostname():
        raise InputError(
            f"the local cluster '{cluster.name}' is on {cluster.host}, not on this machine",
            f"run the command on {cluster.host}, or use another name",
        )


def exists(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and _path(name).exists()


def names() -> list[str]:
    return sorted(path.stem for path in _folder().glob("*.json"))


def at_address(address: str) -> LocalCluster | None:
    """The local cluster whose dashboard has this address; files that cannot be read count not."""
    for name in names():
        with contextlib.suppress(StorageError):
            cluster = _read(_path(name))
            if cluster and cluster.address == address and cluster.host == socket.gethostname():
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
            f"{path} is no state of a cluster: {error}",
            "end its Ray processes by hand if there are any, and remove the file",
        ) from error


@contextlib.contextmanager
def _written(cluster: LocalCluster) -> Iterator[Path]:
    """The content in a file of mode 0600 beside the one it is for."""
    beside = _folder() / f".{cluster.name}.{secrets.token_hex(4)}"
    try:
        _folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(beside, json.dumps(cluster.to_json(), indent=2))
        yield beside
    except FileExistsError:
        raise
    except OSError as error:
        raise StorageError(
            f"{_folder()} cannot be written: {error.strerror}",
            "name another folder: export RNNJOB_STATE_DIR=DIR",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


def write_private(path: Path, text: str) -> None:
    """Makes a new file that only its owner can read, from its first byte on."""
    with open(path, "x", opener=_private_opener) as file:
        file.write(text)


def _private_opener(path: Any, flags: int) -> int:
    return os.open(path, flags, 0o600)
