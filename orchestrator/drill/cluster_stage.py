"""A job on a cluster through Ray Jobs. Most faults are injected by a short Ray job beside it, which
works on any cluster that takes jobs."""

import contextlib
import random
import secrets
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator import runs
from orchestrator.client import Client
from orchestrator.cluster import local
from orchestrator.cluster.connection import Connection
from orchestrator.cluster.dashboard import list_nodes
from orchestrator.drill import inject
from orchestrator.drill.damage import newest_whole
from orchestrator.drill.faults import Strike, missed
from orchestrator.drill.follower import Follower
from orchestrator.drill.plan import NODE, RESIZE, Fault
from orchestrator.job_spec import JobSpec
from orchestrator.launchers.request import Shipping, packages
from orchestrator.launchers.short_job import Ended, run_short_job
from orchestrator.observer import Observer
from orchestrator.room import Need
from orchestrator.runs import RunStatus
from workers.errors import JobError
from workers.run_folder import RunFolder
from workers.secrets import write_package

_MOST_S = 24 * 3600.0
"""How long an injecting job may wait for its step."""


class ClusterStage:
    """One run on a cluster of others, or on a local one that the drill may add nodes to."""

    def __init__(
        self,
        client: Client,
        connection: Connection,
        spec: JobSpec,
        shipping: Shipping,
        local_name: str | None = None,
    ) -> None:
        """`local_name`: of the cluster, where it is one that `rnnjob cluster up --local` began."""
        self.where = connection.address
        self._client, self._connection = client, connection
        self._spec, self._shipping, self._local_name = spec, shipping, local_name
        self._observer: Observer | None = None
        self._resize_to = 0

    def start(self, run_id: str) -> RunFolder:
        run = self._client.submit(self._spec, run_id, self._shipping)
        self._observer = self._client.observe(run_id)
        return run

    @property
    def _run(self) -> RunFolder:
        assert self._observer is not None
        return self._observer.run

    def is_over(self) -> bool:
        return self.status().is_terminal

    def status(self) -> RunStatus:
        assert self._observer is not None
        return self._observer.status()

    def strike(self, fault: Fault, follower: Follower) -> Strike:
        if fault.kind == RESIZE:
            return self._stop_to_resize(fault, follower)
        job_id = f"{self._run.run_id}-{fault.kind}-{secrets.token_hex(2)}"
        with self._runtime_env() as environment, follower.looking():
            ended = run_short_job(
                self._connection, job_id, self._entrypoint(fault), environment, _MOST_S
            )
        return inject.read_strike(ended.log) or missed(_why_it_ended(ended))

    def _entrypoint(self, fault: Fault) -> str:
        job_id = self.status().job_id or self._run.run_id
        words = inject.arguments(fault, self._run, job_id)
        return shlex.join(["python", "-m", "orchestrator.drill.inject", *words])

    @contextlib.contextmanager
    def _runtime_env(self) -> Iterator[dict[str, Any]]:
        modules = [str(folder) for folder in packages()]
        with tempfile.TemporaryDirectory(prefix="rnnjob-") as scratch:
            if self._shipping.secrets:
                modules.append(str(write_package(Path(scratch), self._shipping.secrets)))
            yield {"py_modules": modules, "env_vars": dict(self._shipping.env)}

    def _stop_to_resize(self, fault: Fault, follower: Follower) -> Strike:
        if not follower.wait_for(fault, self.is_over):
            return missed("the run was over")
        before, attempt = follower.workers, follower.attempt
        others = [num for num in range(1, self._most_workers() + 1) if num != before]
        if not others:
            return missed("the cluster has no room for another number of workers")
        self._resize_to = random.Random(fault.draw).choice(others)
        with contextlib.suppress(JobError):  # it may have ended just now
            self._client.stop(self._run.run_id)
        follower.wait_until(lambda: False, self.is_over)
        if self.status().state != runs.STOPPED:
            return missed("the run was over")
        target = f"from {before} to {self._resize_to} workers"
        checkpoint = newest_whole(self._run)
        return Strike(hit=True, target=target, checkpoint=checkpoint, attempt=attempt)

    def _most_workers(self) -> int:
        """That fit the nodes which are alive, each with a shard."""
        each = Need.of(self._spec).each["CPU"]
        nodes = [node for node in list_nodes(self._connection) if node.is_alive]
        room = sum(int(node.cpus_total // each) for node in nodes)
        return min(room, self._spec.dataset.num_shards)

    def mend(self, fault: Fault) -> None:
        if fault.kind == NODE and self._local_name:
            local.add_node(self._local_name)
        if fault.kind == RESIZE:
            scaling = {"scaling.workers": self._resize_to}
            self._client.resume(self._run.run_id, scaling, self._shipping)
            self._observer = self._client.observe(self._run.run_id)

    def close(self) -> None:
        if self._observer and not self.is_over():
            with contextlib.suppress(JobError):
                self._client.stop(self._run.run_id, force=True)


def _why_it_ended(ended: Ended) -> str:
    if ended.job is None:
        return "the cluster lost the job that injects the fault"
    lines = [line.strip() for line in ended.job.message.splitlines() if line.strip()]
    return f"the job that injects the fault is {ended.job.status}: {lines[-1] if lines else ''}"
