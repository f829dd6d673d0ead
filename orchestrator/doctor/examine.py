"""Run all checks of the doctor, one after the other."""

from collections.abc import Callable

from orchestrator.datasets.cache import default_cache
from orchestrator.doctor import cluster, data, gpus, machine, packages
from orchestrator.doctor.check import Check, DoctorOptions, run_check


def examine(options: DoctorOptions) -> list[Check]:
    """Run all checks, in the order in which a person would fix what they find."""
    checks: list[tuple[str, Callable[[], Check | list[Check]]]] = [
        ("python", packages.check_python),
        ("packages", packages.check_packages),
        ("torch", machine.check_torch),
        ("cpus", machine.check_cpus),
        ("memory", machine.check_memory),
        ("gpus", gpus.check_gpus),
        ("nccl", gpus.check_nccl),
        ("precision", machine.check_precision),
        ("disk: cache", lambda: machine.check_disk("cache", default_cache())),
        ("disk: storage", lambda: machine.check_storage_disk(options.storage)),
        ("storage", lambda: data.check_storage(options.storage)),
        (
            "dataset",
            lambda: data.check_dataset(options.dataset, options.data_dir, options.num_shards),
        ),
        ("temp folder", machine.check_temp_folder),
        ("ray", machine.check_ray),
        ("leftovers", machine.check_leftovers),
    ]
    if options.address is not None:
        checks.append(("cluster", lambda: cluster.check_cluster(options)))
    return [result for name, check in checks for result in run_check(name, check)]
