"""The Python API: submit jobs, find them, wait for them. The CLI is built on it.

>>> from orchestrator.client import Client
>>> client = Client(storage="s3://bucket/runs", address="http://head:8265")
>>> run = client.submit(build_spec(flags={"training.epochs": 3}))
>>> client.wait(run.run_id).state
'SUCCEEDED'
"""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from orchestrator import runs, submission
from orchestrator.follow import died
from orchestrator.job_spec import JobSpec
from orchestrator.launchers.base import Launcher
from orchestrator.launchers.request import Shipping
from orchestrator.logs import LogLine, read_logs
from orchestrator.runs import RunStatus
from workers.errors import InputError
from workers.run_folder import RunFolder, StopRequest
from workers.storage import Storage

if TYPE_CHECKING:
    from orchestrator.cluster.connection import Connection

DEFAULT_STORAGE = "./runs"
_POLL_S = 0.5


class Client:
    """Runs of one storage, and the cluster that new ones go to.

    Without an address there is nothing to submit to, but all that is in the storage can be read:
    a run's record outlives its cluster.
    """

    def __init__(
        self,
        storage: str = DEFAULT_STORAGE,
        address: str | None = None,
        verify: bool = True,
        headers: dict[str, str] | None = None,
    ) -> None:
        """`headers`: sent with each request, beside the token that is found by itself."""
        self.storage = Storage(storage)
        self._address, self._verify, self._headers = address, verify, headers or {}

    def submit(
        self, spec: JobSpec, run_id: str | None = None, shipping: Shipping | None = None
    ) -> RunFolder:
        """Hands a job to the cluster and returns at once.

        The spec's storage is that of this client. Raises JobError; nothing is left behind then.
        """
        spec = spec.with_values({"storage": self.storage.uri})
        launcher = self.launcher(self._address, shipping)
        checked = submission.check_for_cluster(spec, self._connection(self._address), run_id)
        run = checked.create_run()
        try:
            launcher.submit(run)
        except BaseException:
            run.storage.delete()
            raise
        return run

    def list_runs(self) -> list[RunStatus]:
        """All runs, newest first."""
        return runs.list_runs(self.storage)

    def get_run(self, name: str) -> RunFolder:
        """The run of an id, a unique prefix, or `@last`. Raises NoSuchRunError."""
        return runs.find_run(self.storage, name)

    def status(self, name: str) -> RunStatus:
        """The state as the run's record and, where it can be reached, its cluster tell it."""
        run = self.get_run(name)
        status = runs.read_status(run)
        if status.is_terminal or not status.address:
            return status
        launcher = self.launcher(status.address)
        return status if launcher.is_alive(run) else died(run, launcher, status)

    def wait(self, name: str, timeout_s: float | None = None) -> RunStatus:
        """The status when the run has ended. Raises TimeoutError."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        run = self.get_run(name)
        while not (status := self.status(run.run_id)).is_terminal:
            if end is not None and time.monotonic() > end:
                raise TimeoutError(f"{run.run_id} is still {status.state} after {timeout_s:g} s")
            time.sleep(_POLL_S)
        return status

    def logs(
        self, name: str, keep: Callable[[LogLine], bool] = lambda _: True, follow: bool = False
    ) -> Iterator[LogLine]:
        """Lines of the driver and all workers, oldest first; with `follow` until the run ends."""
        run = self.get_run(name)
        seen: dict[str, int] = {}
        while True:
            ended = not follow or self.status(run.run_id).is_terminal
            yield from filter(keep, read_logs(run, seen))
            if ended:
                return
            time.sleep(_POLL_S)

    def stop(self, name: str, force: bool = False) -> None:
        """Asks a run to stop with a checkpoint; `force` ends it at once.

        Raises InputError where it has ended already, or there is no cluster to force.
        """
        run = self.get_run(name)
        status = self.status(name)
        if status.is_terminal:
            raise InputError(
                f"{run.run_id} has ended already: {status.state}",
                f"see rnnjob show {run.run_id}",
            )
        run.ask_to_stop(StopRequest("rnnjob stop"))
        if force:
            if not status.address:
                raise InputError(
                    f"{run.run_id} runs in a process of {status.host}, pid {status.pid}, "
                    "and not on a cluster",
                    "it was asked to stop with a checkpoint; end the process there if it does not",
                )
            self.launcher(status.address).kill(run)

    def launcher(self, address: str | None, shipping: Shipping | None = None) -> Launcher:
        """How the cluster at an address is spoken to. Raises InputError without one."""
        from orchestrator.launchers.ray_jobs import RayJobsLauncher

        return RayJobsLauncher(self._connection(address), self._verify, shipping or Shipping())

    def _connection(self, address: str | None) -> "Connection":
        from orchestrator.cluster.connection import Connection, connection

        found = connection(address)
        return Connection(found.address, {**found.headers, **self._headers})
