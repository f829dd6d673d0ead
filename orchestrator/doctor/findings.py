"""Turn the report of one process on a cluster into findings, one function per check."""

import hashlib
from dataclasses import dataclass

from orchestrator.doctor.check import FAIL, OK, WARN, state_of_disk, state_of_memory
from orchestrator.doctor.data import Shard
from orchestrator.doctor.node_report import NodeReport
from orchestrator.doctor.packages import fits, required_versions
from orchestrator.units import show_bytes

_SHARED = "choose a storage that all nodes see: --storage s3://BUCKET/PATH, or a shared file system"


@dataclass(frozen=True)
class Finding:
    """The result of one check of one process.

    It does not name the process, so equal findings of several processes compare equal.
    """

    state: str
    detail: str
    cure: str = ""


def storage(report: NodeReport) -> Finding:
    if not report.storage_error:
        return Finding(OK, "the storage can be written, read and deleted from")
    return Finding(
        FAIL,
        report.storage_error,
        "make the storage writable from every node: put its credentials into each node's "
        "environment, send them with each job (--secret), or choose another one with --storage",
    )


def data(report: NodeReport, shard: Shard) -> Finding:
    """Check that the process sees the storage of this machine, not another of the same name."""
    if report.storage_error:
        return Finding(FAIL, "not checked, because the storage fails", "fix the storage first")
    if not report.shard_sha256:
        return Finding(
            FAIL, "the file that this machine wrote to the storage is not there", _SHARED
        )
    if report.shard_sha256 != hashlib.sha256(shard.content).hexdigest():
        return Finding(FAIL, "the storage returns other bytes than were written", _SHARED)
    if report.shard_error:
        return Finding(FAIL, report.shard_error, "reinstall pyarrow there")
    return Finding(OK, f"can read a shard of {shard.dataset} that this machine wrote")


def packages(report: NodeReport, usual: dict[str, str], here: dict[str, str]) -> Finding:
    """Check that each package can be imported and has a version that is right.

    It fails if the version differs from the rest of the cluster or is outside rnnjob's range. It
    warns if the version differs from this machine's.

    Args:
        usual: by package, the version that most processes have.
        here: by package, the version on this machine. Both are without a build's name, such as the
            +cu130 of torch.
    """
    by_package = {name: _package(report, name, usual[name], here[name]) for name in here}
    wrong = {name: finding for name, finding in by_package.items() if finding.state != OK}
    if not wrong:
        versions = ", ".join(f"{name} {here[name]}" for name in here)
        return Finding(OK, f"{versions}, same as on this machine")
    wanted = " ".join(f"{name}=={here[name]}" for name in wrong if name != "python")
    cures = [f"install Python {here['python']} there"] if "python" in wrong else []
    cures += [f"run there: pip install {wanted}"] if wanted else []
    return Finding(
        FAIL if any(finding.state == FAIL for finding in wrong.values()) else WARN,
        "; ".join(f"{name} {finding.detail}" for name, finding in wrong.items()),
        "; ".join(cures),
    )


def _package(report: NodeReport, name: str, usual: str, here: str) -> Finding:
    if reason := report.not_importable.get(name):
        return Finding(FAIL, f"cannot be imported: {reason}")
    version = without_build(report.versions[name])
    if version != usual:
        return Finding(FAIL, f"is {version}, but {usual} elsewhere on the cluster")
    if not fits(version, required_versions(name)):
        return Finding(FAIL, f"is {version}, but rnnjob needs {required_versions(name)}")
    if version != here:
        return Finding(WARN, f"is {version}, but {here} on this machine")
    return Finding(OK, version)


def without_build(version: str) -> str:
    return version.partition("+")[0]


def gpus(report: NodeReport, offered: float) -> Finding:
    """Check that torch sees all GPUs. `offered`: the number that Ray has on the node."""
    cure = "install a torch built for the driver's CUDA version there; see nvidia-smi"
    num_seen = len(report.gpus)
    if offered > num_seen:
        return Finding(FAIL, f"Ray offers {offered:g} GPUs, torch sees {num_seen}", cure)
    if num_seen:
        models = ", ".join(sorted(set(report.gpus)))
        return Finding(OK, f"{num_seen} GPUs: {models}")
    if report.has_nvidia_driver:
        return Finding(WARN, "there is an NVIDIA driver, but torch sees no GPU", cure)
    return Finding(OK, "no GPUs")


def nccl(report: NodeReport, usual: str) -> Finding:
    """Check NCCL if there are GPUs. `usual`: the version that most nodes with GPUs have."""
    if not report.gpus:
        return Finding(OK, "no GPUs, so no NCCL is needed")
    if not report.nccl:
        return Finding(FAIL, "torch was built without NCCL", "install a torch built with CUDA")
    if report.nccl != usual:
        return Finding(
            FAIL,
            f"NCCL is {report.nccl}, but {usual} elsewhere on the cluster",
            "install the same build of torch on every node",
        )
    return Finding(OK, f"NCCL {report.nccl}")


def disk(report: NodeReport, least: int) -> Finding:
    """Check the free disk space in Ray's temporary folder.

    `least`: the smallest free space, in bytes, among the processes that have enough.
    """
    state = state_of_disk(report.disk_free)
    if state == OK:
        return Finding(OK, f"at least {show_bytes(least)} free in Ray's folder")
    detail = f"{show_bytes(report.disk_free)} free in {report.temp_dir}"
    return Finding(state, detail, "free some space there, or start Ray with another --temp-dir")


def memory(report: NodeReport, least: int) -> Finding:
    """Check the free memory.

    `least`: the smallest free memory, in bytes, among the processes that have enough.
    """
    if state_of_memory(report.memory_free) == OK:
        return Finding(OK, f"at least {show_bytes(least)} free")
    detail = f"{show_bytes(report.memory_free)} free"
    return Finding(WARN, detail, "end other programs there: Ray and torch take about 2 GiB")
