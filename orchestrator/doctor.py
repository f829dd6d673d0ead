"""Checks of what a job needs, here and on a cluster: each a small function that returns a `Check`.

A check never writes anything that stays, but for a data set's shards in the cache, and never
downloads. What one check meets does not stop the others.
"""

import contextlib
import os
import platform
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workers.errors import DataError, JobError
from workers.storage import Storage

if TYPE_CHECKING:
    from packaging.requirements import Requirement

OK, WARN, FAIL = "ok", "warn", "fail"
_PACKAGE = "rnnjob"
_GIB = 2**30
_LITTLE_MEMORY, _LITTLE_DISK, _NO_DISK = 2 * _GIB, 2 * _GIB, _GIB // 8
_LONGEST_SOCKET = 103
"""Characters of a socket's path on macOS; Linux takes 107."""
_RAY_BELOW_TEMP = "/ray/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store"


@dataclass(frozen=True)
class Check:
    """What was looked at and how it stands. `cure` is empty where the state is ok."""

    name: str
    state: str
    detail: str
    cure: str = ""

    def to_json(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True)
class Surroundings:
    """What to check beside this machine."""

    storage: str
    dataset: str
    data_dir: Path | None = None
    num_shards: int = 8
    address: str | None = None
    """Of a cluster; None: none is asked."""


def examine(where: Surroundings) -> list[Check]:
    """All checks, in the order in which a person would mend what they find."""
    from orchestrator.datasets.prepare import default_cache

    checks: list[tuple[str, Callable[[], Check | list[Check]]]] = [
        ("python", check_python),
        ("packages", check_packages),
        ("torch", check_torch),
        ("cpus", check_cpus),
        ("memory", check_memory),
        ("gpus", check_gpus),
        ("nccl", check_nccl),
        ("precision", check_precision),
        ("disk: cache", lambda: check_disk("cache", default_cache())),
        ("disk: storage", lambda: check_storage_disk(where.storage)),
        ("storage", lambda: check_storage(where.storage)),
        ("dataset", lambda: check_dataset(where.dataset, where.data_dir, where.num_shards)),
        ("temp folder", check_temp_folder),
        ("ray", check_ray),
    ]
    if where.address is not None:
        address = where.address
        checks.append(("cluster", lambda: check_cluster(address)))
    return [found for name, check in checks for found in run_check(name, check)]


def run_check(name: str, check: Callable[[], Check | list[Check]]) -> list[Check]:
    """What a check found; what it raises is a finding, too."""
    try:
        found = check()
    except JobError as error:
        return [Check(name, FAIL, error.cause, error.cure)]
    except Exception as error:  # noqa: BLE001  # the other checks must go on
        return [Check(name, FAIL, f"{type(error).__name__}: {error}", "mend this first")]
    return found if isinstance(found, list) else [found]


def declared() -> tuple[str, list[str]]:
    """The Pythons and the packages that rnnjob asks for.

    From pyproject.toml in a checkout, which may be newer than what pip noted when it installed it.
    """
    file = Path(__file__).parents[1] / "pyproject.toml"
    if sys.version_info >= (3, 11) and file.is_file():
        import tomllib

        project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
        if project.get("name") == _PACKAGE:
            return project["requires-python"], project["dependencies"]
    return metadata.metadata(_PACKAGE)["Requires-Python"], metadata.requires(_PACKAGE) or []


def check_python(version: str | None = None) -> Check:
    """Whether this Python, or another version of it, is one that rnnjob is made for."""
    from packaging.specifiers import SpecifierSet

    version = version or platform.python_version()
    wanted, _ = declared()
    if SpecifierSet(wanted).contains(version, prereleases=True):
        return Check("python", OK, f"{version}, {sys.executable}")
    return Check("python", FAIL, f"{version}, and rnnjob needs {wanted}", "install such a Python")


def check_packages(requirements: Iterable[str] | None = None) -> list[Check]:
    """Each package that rnnjob depends on. `requirements`: others than its own."""
    from packaging.requirements import Requirement

    wanted = map(Requirement, declared()[1] if requirements is None else requirements)
    return [
        _check_package(requirement)
        for requirement in wanted
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    ]


def _check_package(requirement: "Requirement") -> Check:
    name, needed = f"package {requirement.name}", requirement.specifier
    requirement.marker = None
    cure = f"pip install '{requirement}'"
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return Check(name, FAIL, f"not installed; {needed} is needed", cure)
    if needed.contains(version, prereleases=True):
        return Check(name, OK, version)
    return Check(name, FAIL, f"{version}, and rnnjob needs {needed}", cure)


def check_torch() -> Check:
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library of its own is missing
        return Check("torch", FAIL, f"cannot be imported: {error}", "install torch anew")
    return Check("torch", OK, f"{torch.__version__}, {torch.get_num_threads()} threads by default")


def check_cpus() -> Check:
    from orchestrator.launchers.local import num_usable_cpus

    usable, there = num_usable_cpus(), os.cpu_count() or 1
    of = f" of {there}" if usable != there else ""
    return Check("cpus", OK, f"{usable}{of} usable")


def check_memory() -> Check:
    import psutil

    from orchestrator.units import show_bytes

    memory = psutil.virtual_memory()
    detail = f"{show_bytes(memory.available)} free of {show_bytes(memory.total)}"
    if memory.available < _LITTLE_MEMORY:
        return Check("memory", WARN, detail, "end other programs: Ray and torch take about 2 GiB")
    return Check("memory", OK, detail)


def check_gpus() -> Check:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return Check("gpus", OK, f"{len(names)}: {', '.join(names)}")
    if Path("/dev/nvidiactl").exists():
        return Check(
            "gpus",
            WARN,
            f"the machine has an NVIDIA driver, but torch {torch.__version__} sees no GPU",
            "install a torch built for the driver's CUDA version; see nvidia-smi",
        )
    return Check("gpus", OK, "none")


def check_nccl() -> Check:
    import torch
    import torch.distributed as dist

    if not torch.cuda.is_available():
        return Check("nccl", OK, "none, and none needed: no GPUs")
    if not dist.is_nccl_available():
        return Check(
            "nccl", FAIL, "torch was built without NCCL", "install a torch built with CUDA"
        )
    version = torch.cuda.nccl.version()  # type: ignore[no-untyped-call]
    return Check("nccl", OK, ".".join(str(part) for part in version))


def check_precision() -> Check:
    import torch

    from orchestrator.plan import best_precision

    gpu = torch.cuda.is_available()
    chosen = best_precision(gpu)
    device = "GPU" if gpu else "CPU"
    reason = "has" if chosen == "bf16" else "has no"
    units = "bf16 units" if gpu else "AMX tiles"
    return Check("precision", OK, f"auto is {chosen} here: the {device} {reason} {units}")


def check_disk(what: str, folder: Path) -> Check:
    """Room at a folder, or where it would be made."""
    import psutil

    from orchestrator.units import show_bytes

    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = psutil.disk_usage(str(there)).free
    detail = f"{show_bytes(free)} free at {folder}"
    state = FAIL if free < _NO_DISK else WARN if free < _LITTLE_DISK else OK
    variable = {"cache": "RNNJOB_CACHE_DIR", "storage": "--storage"}[what]
    cure = "" if state == OK else f"free some space there, or name another folder: {variable}"
    return Check(f"disk: {what}", state, detail, cure)


def check_storage_disk(storage: str) -> Check:
    path = Storage(storage).local_path
    if path is None:
        return Check("disk: storage", OK, f"not on this machine: {storage}")
    return check_disk("storage", path)


def check_storage(uri: str) -> Check:
    """Writes, reads and deletes a file there, and leaves no folder that was not there before."""
    storage = Storage(uri)
    name, content = f".rnnjob-doctor-{uuid.uuid4().hex[:8]}", uuid.uuid4().bytes
    path = storage.local_path
    missing = [p for p in (path, *path.parents) if not p.exists()] if path else []
    try:
        storage.write(name, content)
        same = storage.read(name) == content
        storage.delete_file(name)
    finally:
        for folder in missing:
            with contextlib.suppress(OSError):
                folder.rmdir()
    if not same:
        return Check(
            "storage", FAIL, f"{storage.where()} gives back other bytes", "name another: --storage"
        )
    made = "; made when needed" if missing else ""
    return Check("storage", OK, f"{storage.where()} can be written, read and deleted from{made}")


def check_dataset(name: str, data_dir: Path | None, num_shards: int) -> Check:
    """Cuts the data set, where that was not done, and reads every shard. Never downloads."""
    from orchestrator.datasets.prepare import default_cache, prepare
    from orchestrator.datasets.sources import NAMES, SAMPLE, find_source

    label = f"dataset {name}"
    cache = default_cache()
    if data_dir is None and name in NAMES and name != SAMPLE:
        try:
            find_source(name, cache, cache)
        except DataError:
            return Check(
                label,
                WARN,
                "not here; will be downloaded",
                f"rnnjob data prepare --dataset {name}, or --data-dir DIR with its idx files",
            )
    try:
        data = prepare(name, data_dir, num_shards)
        data.verify()
    except JobError as error:
        return Check(label, FAIL, error.cause, error.cure)
    shape = data.shape
    rows = shape.train_rows + shape.validation_rows + shape.test_rows
    return Check(
        label,
        OK,
        f"{rows:,} rows in {shape.num_shards} shards, all intact, in {data.folder.where()}",
    )


def check_temp_folder(folder: str | None = None) -> Check:
    """Whether the sockets of a Ray started by hand fit below it; rnnjob's own are in /tmp."""
    folder = folder or os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    spare = _LONGEST_SOCKET - len(folder + _RAY_BELOW_TEMP)
    if spare < 0:
        return Check(
            "temp folder",
            WARN,
            f"{folder} is {-spare} characters too long for the sockets of a Ray below it",
            "export TMPDIR=/tmp before ray start",
        )
    return Check("temp folder", OK, f"{folder}, short enough for Ray's sockets")


def check_ray() -> Check:
    try:
        import ray
        import ray.job_submission  # needs ray[default]
    except (ImportError, OSError, RuntimeError) as error:
        return Check("ray", FAIL, f"cannot be imported: {error}", "install ray[default,train] anew")
    return Check("ray", OK, ray.__version__)


def check_cluster(address: str) -> list[Check]:
    """Reachable, token accepted, same versions, what it has. Raises JobError if unreachable."""
    from orchestrator.cluster.connection import connection
    from orchestrator.cluster.dashboard import get_json

    there = connection(address)
    ray_version = str(get_json(there, "/api/version").get("ray_version"))
    described = get_json(there, "/api/v0/cluster_metadata").get("data") or {}
    token = "token accepted" if there.headers else "no token asked for"
    return [
        Check("cluster", OK, f"{there.address} answers, {token}"),
        compare_versions("ray", metadata.version("ray"), ray_version),
        compare_versions("python", platform.python_version(), str(described.get("pythonVersion"))),
        summarise_nodes(get_json(there, "/api/v0/nodes?detail=0&limit=10000")),
    ]


def compare_versions(what: str, here: str, there: str) -> Check:
    """Equal versions on both sides; Python's patch level may differ."""
    name = f"cluster {what}"
    if here == there:
        return Check(name, OK, f"{here} on both sides")
    detail = f"{there} there, {here} here"
    if what == "python" and here.split(".")[:2] == there.split(".")[:2]:
        return Check(name, WARN, detail, f"take Python {there} here, to be sure")
    return Check(name, FAIL, detail, f"install {what} {there} here, or {here} on every node")


def summarise_nodes(reply: dict[str, Any]) -> Check:
    """Nodes and what they have. `reply`: of the state API's /api/v0/nodes."""
    nodes = [n for n in reply["data"]["result"]["result"] if n["state"] == "ALIVE"]

    def total(resource: str) -> float:
        return sum(float((node["resources_total"] or {}).get(resource, 0)) for node in nodes)

    detail = f"{len(nodes)} nodes, {total('CPU'):g} CPUs, {total('GPU'):g} GPUs"
    if not total("CPU"):
        return Check(
            "cluster nodes",
            WARN,
            f"{detail}: no node can train now",
            "fine where nodes come when a job asks for them; else start some",
        )
    return Check("cluster nodes", OK, detail)
