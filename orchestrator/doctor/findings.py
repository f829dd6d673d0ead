"""What the report of one process on a cluster comes to, check by check."""

import hashlib
from dataclasses import dataclass

from orchestrator.doctor.check import FAIL, OK, WARN, state_of_disk, state_of_memory
from orchestrator.doctor.data import Shard
from orchestrator.doctor.packages import fits, range_of
from orchestrator.node_report import NodeReport
from orchestrator.units import show_bytes

_SHARED = "name storage that all nodes see: --storage s3://BUCKET/PATH, or a shared file system"


@dataclass(frozen=True)
class Finding:
    """A state, in words that are equal wherever the finding is."""

    state: str
    detail: str
    cure: str = ""


def storage(report: NodeReport) -> Finding:
    if not report.storage_error:
        return Finding(OK, "the storage can be written, read and deleted from")
    return Finding(
        FAIL,
        report.storage_error,
        "let every node write the storage: its credentials go into each node's environment, or "
        "with each job (--secret); or name another: --storage",
    )


def data(report: NodeReport, shard: Shard) -> Finding:
    """Whether it is the storage that this machine wrote to, not just one of that name."""
    if report.storage_error:
        return Finding(FAIL, "not looked at: the storage fails", "mend that first")
    if not report.shard_sha256:
        return Finding(FAIL, "what this machine writes into the storage is not there", _SHARED)
    if report.shard_sha256 != hashlib.sha256(shard.content).hexdigest():
        return Finding(FAIL, "the storage gives back other bytes than were written", _SHARED)
    if report.shard_error:
        return Finding(FAIL, report.shard_error, "install pyarrow anew there")
    return Finding(OK, f"a shard of {shard.dataset} that was written here is read")


def packages(report: NodeReport, usual: dict[str, str], here: dict[str, str]) -> Finding:
    """Each importable, as elsewhere on the cluster, in rnnjob's range, and best as here.

    Args:
        usual: the version of each that most have.
        here: that of this machine. Both without a build's name, such as the +cu130 of torch.
    """
    wrong = {name: _package(report, name, usual[name], here[name]) for name in here}
    wrong = {name: found for name, found in wrong.items() if found.state != OK}
    if not wrong:
        return Finding(OK, ", ".join(f"{name} {here[name]}" for name in here) + ", as here")
    wanted = " ".join(f"{name}=={here[name]}" for name in wrong if name != "python")
    cures = [f"install Python {here['python']} there"] if "python" in wrong else []
    cures += [f"there, pip install {wanted}"] if wanted else []
    return Finding(
        FAIL if any(found.state == FAIL for found in wrong.values()) else WARN,
        "; ".join(f"{name} {found.detail}" for name, found in wrong.items()),
        "; ".join(cures),
    )


def _package(report: NodeReport, name: str, usual: str, here: str) -> Finding:
    if reason := report.not_importable.get(name):
        return Finding(FAIL, f"cannot be imported: {reason}")
    version = without_build(report.versions[name])
    if version != usual:
        return Finding(FAIL, f"is {version}, and {usual} elsewhere on the cluster")
    if not fits(version, range_of(name)):
        return Finding(FAIL, f"is {version}, and rnnjob needs {range_of(name)}")
    if version != here:
        return Finding(WARN, f"is {version}, and {here} here")
    return Finding(OK, version)


def without_build(version: str) -> str:
    return version.partition("+")[0]


def gpus(report: NodeReport, offered: float) -> Finding:
    """`offered`: how many Ray gives away there."""
    cure = "install a torch built for the driver's CUDA version there; see nvidia-smi"
    num_seen = len(report.gpus)
    if offered > num_seen:
        return Finding(FAIL, f"Ray offers {offered:g} GPUs, torch sees {num_seen}", cure)
    if num_seen:
        kinds = ", ".join(sorted(set(report.gpus)))
        return Finding(OK, f"{num_seen} GPUs: {kinds}")
    if report.has_nvidia_driver:
        return Finding(WARN, "there is an NVIDIA driver, but torch sees no GPU", cure)
    return Finding(OK, "no GPUs")


def nccl(report: NodeReport, usual: str) -> Finding:
    """`usual`: the version that most nodes with GPUs have."""
    if not report.gpus:
        return Finding(OK, "no GPUs, so no NCCL is needed")
    if not report.nccl:
        return Finding(FAIL, "torch was built without NCCL", "install a torch built with CUDA")
    if report.nccl != usual:
        return Finding(
            FAIL,
            f"NCCL is {report.nccl}, and {usual} elsewhere on the cluster",
            "install the same build of torch on every node",
        )
    return Finding(OK, f"NCCL {report.nccl}")


def disk(report: NodeReport, least: int) -> Finding:
    """`least`: what is free where there is the least of those that have enough."""
    state = state_of_disk(report.disk_free)
    if state == OK:
        return Finding(OK, f"at least {show_bytes(least)} free in Ray's folder")
    detail = f"{show_bytes(report.disk_free)} free in {report.temp_dir}"
    return Finding(state, detail, "free some space there, or start Ray with another --temp-dir")


def memory(report: NodeReport, least: int) -> Finding:
    """`least`: as for `disk`."""
    if state_of_memory(report.memory_free) == OK:
        return Finding(OK, f"at least {show_bytes(least)} free")
    detail = f"{show_bytes(report.memory_free)} free"
    return Finding(WARN, detail, "end other programs there: Ray and torch take about 2 GiB")
