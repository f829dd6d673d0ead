"""Run a drill's job on a cluster through Ray Jobs.

A short Ray job injects most faults. This works on any cluster that accepts jobs.
"""

import contextlib
import random
import secrets
import shlex
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator import runs
from orchestrator.client import Client
from orchestrator.cluster import local_cluster
from orchestrator.cluster.capacity import ResourceRequest
from orchestrator.cluster.connection import Connection
from orchestrator.cluster.dashboard import list_nodes
from orchestrator.drill import inject
from orchestrator.drill.checkpoint_damage import newest_intact_step
from orchestrator.drill.fault_schedule import NODE, RESIZE, SUPERVISOR, Fault
from orchestrator.drill.faults import Injection, missed
from orchestrator.drill.follower import Follower
from orchestrator.launch.request import Shipping, packages
from orchestrator.launch.short_job import EndedJob, run_short_job
from orchestrator.observe.observer import Observer
from orchestrator.runs import RunStatus
from orchestrator.spec.job_spec import JobSpec
from workers.errors import JobError
from workers.records.run_folder import RunFolder
from workers.secrets import write_package

_MAX_WAIT_S = 24 * 3600.0
"""How long the job that injects a fault may wait for the fault's step."""


class ClusterStage:
    """One run on an existing cluster. The drill can add nodes to it if it is a local cluster."""

    def __init__(
        self,
        client: Client,
        connection: Connection,
        spec: JobSpec,
        shipping: Shipping,
        local_name: str | None = None,
    ) -> None:
        """`local_name`: the cluster's name if `rnnjob cluster up --local` started it."""
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

    def inject(self, fault: Fault, follower: Follower) -> Injection:
        if fault.kind == RESIZE:
            return self._stop_to_resize(fault, follower)
        job_id = f"{self._run.run_id}-{fault.kind}-{secrets.token_hex(2)}"
        with self._runtime_env() as environment, follower.reading_in_background():
            ended = run_short_job(
                self._connection, job_id, self._entrypoint(fault), environment, _MAX_WAIT_S
            )
        return inject.read_injection(ended.log) or missed(_why_it_ended(ended))

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

    def _stop_to_resize(self, fault: Fault, follower: Follower) -> Injection:
        if not follower.wait_for(fault, self.is_over):
            return missed("the run was over")
        before, attempt = follower.workers, follower.attempt
        others = [num for num in range(1, self._max_workers() + 1) if num != before]
        if not others:
            return missed("the cluster has no room for another number of workers")
        self._resize_to = random.Random(fault.draw).choice(others)
        with contextlib.suppress(JobError):  # the run may have ended just now
            self._client.stop(self._run.run_id)
        follower.wait_until(lambda: False, self.is_over)
        if self.status().state != runs.STOPPED:
            return missed("the run was over")
        target = f"from {before} to {self._resize_to} workers"
        checkpoint = newest_intact_step(self._run)
        return Injection(hit=True, target=target, checkpoint=checkpoint, attempt=attempt)

    def _max_workers(self) -> int:
        """Return how many workers fit on the nodes that are alive, at most one per shard."""
        per_worker = ResourceRequest.of(self._spec).per_worker["CPU"]
        nodes = [node for node in list_nodes(self._connection) if node.is_alive]
        capacity = sum(int(node.cpus_total // per_worker) for node in nodes)
        return min(capacity, self._spec.dataset.num_shards)

    def recover(self, fault: Fault) -> None:
        if fault.kind == NODE and self._local_name:
            local_cluster.add_node(self._local_name)
        if fault.kind == RESIZE:
            self._resume({"scaling.workers": self._resize_to})
        if fault.kind == SUPERVISOR:
            while not self.is_over():  # the driver saves a checkpoint first
                time.sleep(self._run.poll_s)
            self._resume({})

    def _resume(self, changes: dict[str, Any]) -> None:
        run_id = self._run.run_id
        self._client.resume(run_id, changes, self._shipping)
        self._observer = self._client.observe(run_id)

    def close(self) -> None:
        if self._observer and not self.is_over():
            with contextlib.suppress(JobError):
                self._client.stop(self._run.run_id, force=True)


def _why_it_ended(ended: EndedJob) -> str:
    if ended.job is None:
        return "the cluster lost the job that injects the fault"
    lines = [line.strip() for line in ended.job.message.splitlines() if line.strip()]
    return f"the job that injects the fault is {ended.job.status}: {lines[-1] if lines else ''}"
