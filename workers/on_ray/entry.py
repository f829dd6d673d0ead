"""Where a worker of Ray Train begins.

The driver and Ray Train's controller import this module, too. Neither computes, so it imports torch
only in the worker: that takes a process two seconds of its CPU.
"""

from typing import Any


def train_on_ray(config: dict[str, Any]) -> dict[str, Any]:
    """Train in one process of Ray Train; see `workers.on_ray.ray_worker.train_job`."""
    from workers.on_ray.ray_worker import train_job

    return train_job(config)
