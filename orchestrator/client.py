"""The Python API: submit jobs, find them, wait for them. The CLI is built on it.

>>> from orchestrator import Client, build_spec
>>> client = Client(storage="s3://bucket/runs", address="http://head:8265")
>>> run = client.submit(build_spec(flags={"training.epochs": 3}))
>>> client.wait(run.run_id).state
'SUCCEEDED'
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from orchestrator import resumption, runs, submission
from orchestrator.follow import died, given_up
from orchestrator.headers import check_headers
from orchestrator.job_spec import JobSpec
from orchestrator.launchers.request import Shipping
from orchestrator.logs import LogLine, read_logs
from orchestrator.observer import Observer, is_on_a_cluster
from orchestrator.runs import DEFAULT_STORAGE, RunStatus, next_command
from orchestrator.starting import ClusterJob
from orchestrator.units import show_duration
from workers.errors import ClusterError, InputError, UnreachableError, WaitTimeoutError
from workers.run_folder import RunFolder, StopRequest
from workers.storage import Storage

if TYPE_CHECKING:
    from orchestrator.cluster.connection import Connection
    from orchestrator.launchers.ray_jobs import RayJobsLauncher

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
        """`headers`: sent with each request, beside the token that is found by itself.

        Raises InputError or StorageError; nothing is asked of the cluster.
        """
        self.storage = Storage(storage)
        self._address, self._verify = address, verify
        self._headers = check_headers(headers or {})

    def submit(
        self, spec: JobSpec, run_id: str | None = None, shipping: Shipping | None = None
    ) -> RunFolder:
        """Hands a job to the cluster and returns at once.

        The spec's storage is that of this client. Raises JobError; nothing is left behind then.
        """
        return self.check(spec, run_id, shipping).start()

    def check(
        self, spec: JobSpec, run_id: str | None = None, shipping: Shipping | None = None
    ) -> ClusterJob:
        """What `submit` would start: its data prepared, the cluster asked, nothing written there.

        Raises JobError.
        """
        spec = spec.with_values({"storage": self.storage.uri})
        launcher = self.launcher(self._address, shipping)
        checked = submission.check_for_cluster(spec, self.connection(self._address), run_id)
        run = RunFolder(checked.storage.child(checked.run_id))
        return ClusterJob(checked, launcher.request(run), launcher)

    def resume(
        self, name: str, values: Mapping[str, Any] | None = None, shipping: Shipping | None = None
    ) -> RunFolder:
        """Has the cluster take up a run that ended, wherever it ran before, and returns at once.

        `values`: keys of the spec, dotted, to change; see `resumption.check_again`.

        Raises JobError.
        """
        return self.check_again(name, values or {}, shipping).start()

    def check_again(
        self, name: str, values: Mapping[str, Any], shipping: Shipping | None = None
    ) -> ClusterJob:
        """What `resume` would start. Raises JobError."""
        run = self.get_run(name)
        connection = self.connection(self._address)
        checked = resumption.check_again_for_cluster(run, connection, values)
        launcher = self.launcher(self._address, shipping, checked.job_id)
        return ClusterJob(checked, launcher.request(run), launcher)

    def list_runs(self) -> list[RunStatus]:
        """All runs, newest first."""
        return runs.list_runs(self.storage)

    def get_run(self, name: str) -> RunFolder:
        """The run of an id, a unique prefix, or `@last`. Raises NoSuchRunError."""
        return runs.find_run(self.storage, name)

    def status(self, name: str) -> RunStatus:
        """The state as the run's record and, where it can be reached, its cluster tell it."""
        return self.observe(name).status()

    def observe(self, name: str) -> Observer:
        """For looking at one run again and again."""
        return Observer(self.get_run(name), self.launcher)

    def wait(self, name: str, timeout_s: float | None = None) -> RunStatus:
        """The status when the run has ended. Raises WaitTimeoutError."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        observer = self.observe(name)
        while not (status := observer.status()).is_terminal:
            if end is not None and time.monotonic() > end:
                raise WaitTimeoutError(
                    f"{status.run_id} is still {status.state} after "
                    f"{show_duration(timeout_s or 0.0)}; the wait ended, the job goes on",
                    f"{next_command(observer.run, 'why')}, or wait again",
                )
            time.sleep(max(_POLL_S, observer.run.poll_s))
        return status

    def logs(
        self,
        name: str,
        keep: Callable[[LogLine], bool] = lambda _: True,
        follow: bool = False,
        tail: int | None = None,
    ) -> Iterator[LogLine]:
        """Lines of the driver and all workers, oldest first; with `follow` until the run ends.

        `tail`: of those that are there already only the last so many.
        """
        observer = self.observe(name)
        seen: dict[str, int] = {}
        lines = list(filter(keep, read_logs(observer.run, seen)))
        yield from lines if tail is None else lines[max(0, len(lines) - tail) :]
        ended = not follow
        while not ended:
            ended = observer.status().is_terminal
            # Also after the end: the driver closes its log just after it wrote its outcome.
            time.sleep(max(_POLL_S, observer.run.poll_s))
            yield from filter(keep, read_logs(observer.run, seen))

    def stop(self, name: str, force: bool = False) -> RunStatus:
        """Asks a run to stop with a checkpoint; `force` ends it at once.

        Returns the status then: STOPPED only where it was forced, also where its cluster is gone,
        so that the run can be resumed elsewhere or deleted. Raises InputError where the run has
        ended already, or there is no cluster to force.
        """
        observer = self.observe(name)
        run, status = observer.run, observer.status()
        if status.is_terminal:
            raise InputError(
                f"{run.run_id} has ended already: {status.state}",
                f"see {next_command(run, 'show')}",
            )
        run.ask_to_stop(StopRequest("rnnjob stop", at_once=force and is_on_a_cluster(status)))
        if not force:
            return status
        if not is_on_a_cluster(status):
            raise InputError(
                f"{run.run_id} runs in a process of {status.host}, pid {status.pid}, "
                "and not on a cluster",
                "it was asked to stop with a checkpoint; end the process there if it does not",
            )
        if isinstance(observer.refusal, UnreachableError):
            return given_up(run, observer.refusal.cause)
        launcher = self.launcher(status.address)
        if not launcher.kill(run):
            raise ClusterError(
                f"{run.run_id} does not end on {status.address}",
                f"see its dashboard, or try again: {next_command(run, 'stop', '--force')}",
            )
        return died(run, launcher, status)

    def delete(self, name: str) -> None:
        """Removes the folder of a run that has ended, and what its cluster remembers of it, where
        that can be reached. Raises InputError where the run has not ended."""
        status, run = self.check_deletable(name), self.get_run(name)
        if is_on_a_cluster(status):
            with contextlib.suppress(ClusterError, InputError):
                self.launcher(status.address).forget(run)
        run.storage.delete()

    def check_deletable(self, name: str) -> RunStatus:
        """The status of a run that has ended. Raises InputError where it has not."""
        observer = self.observe(name)
        run, status = observer.run, observer.status()
        if status.is_terminal:
            return status
        stop = f"{next_command(run, 'stop')}, then {next_command(run, 'wait')}"
        gone = f"; if its cluster is gone for good: {next_command(run, 'stop', '--force')}"
        raise InputError(
            f"{run.run_id} is {status.state}; only a run that has ended can be deleted",
            stop + (gone if observer.refusal else ""),
        )

    def launcher(
        self, address: str | None, shipping: Shipping | None = None, job_id: str = ""
    ) -> "RayJobsLauncher":
        """How the cluster at an address is spoken to. Raises InputError without one."""
        from orchestrator.launchers.ray_jobs import RayJobsLauncher

        return RayJobsLauncher(
            self.connection(address), self._verify, shipping or Shipping(), job_id
        )

    def connection(self, address: str | None) -> "Connection":
        """The way to a cluster, with this client's headers. Raises InputError."""
        from orchestrator.cluster.connection import Connection, connection

        found = connection(address)
        headers = {**found.headers, **self._headers}
        return Connection(found.address, headers, self._verify)
