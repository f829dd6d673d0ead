"""All checks, one after the other."""

from collections.abc import Callable

from orchestrator.datasets.prepare import default_cache
from orchestrator.doctor import cluster, data, machine, packages
from orchestrator.doctor.check import Check, Surroundings, run_check


def examine(where: Surroundings) -> list[Check]:
    """All checks, in the order in which a person would mend what they find."""
    checks: list[tuple[str, Callable[[], Check | list[Check]]]] = [
        ("python", packages.check_python),
        ("packages", packages.check_packages),
        ("torch", machine.check_torch),
        ("cpus", machine.check_cpus),
        ("memory", machine.check_memory),
        ("gpus", machine.check_gpus),
        ("nccl", machine.check_nccl),
        ("precision", machine.check_precision),
        ("disk: cache", lambda: machine.check_disk("cache", default_cache())),
        ("disk: storage", lambda: machine.check_storage_disk(where.storage)),
        ("storage", lambda: data.check_storage(where.storage)),
        ("dataset", lambda: data.check_dataset(where.dataset, where.data_dir, where.num_shards)),
        ("temp folder", machine.check_temp_folder),
        ("ray", machine.check_ray),
    ]
    if where.address is not None:
        checks.append(("cluster", lambda: cluster.check_cluster(where)))
    return [found for name, check in checks for found in run_check(name, check)]
