"""Flags of the commands that use a model on Ray, and where they say to compute."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from orchestrator.cli.options.cluster import request_options, shipping_options
from workers.storage.storage import Storage

if TYPE_CHECKING:
    from orchestrator.trained.on_ray import OnRay

P = ParamSpec("P")
R = TypeVar("R")


def on_ray_options(function: Callable[P, R]) -> Callable[P, R]:
    """Add --workers, --address, and what belongs to a cluster; see `on_ray_from`."""
    workers = click.option(
        "--workers",
        type=click.IntRange(1),
        metavar="N",
        help="Compute with N processes on Ray, on this machine or with --address on a cluster, for "
        "which it is the most.  [default: this process; on a cluster one for each CPU]",
    )
    address = click.option(
        "--address",
        metavar="URL",
        help="Compute on the cluster with this dashboard, or name of a cluster that "
        "`rnnjob cluster up --local` started.",
    )
    return workers(address(request_options(shipping_options(function))))


def on_ray_from(flags: dict[str, Any], storages: list[Storage]) -> "OnRay | None":
    """Return where to compute; None for this process.

    Args:
        flags: the values of `on_ray_options`.
        storages: what the nodes of a cluster must reach.

    Raises InputError, or ClusterError if the cluster cannot be used.
    """
    address, workers = flags["address"], flags["workers"]
    shipping = flags["sent"].shipping(address)
    if address is None and workers is None:
        return None
    from orchestrator.trained.on_ray import on_cluster, on_ray_here

    if address is None:
        return on_ray_here(workers)
    client = flags["requests"].client(storages[0].uri, address)
    return on_cluster(client.connection(address), storages, workers, shipping)
