"""The runs of a storage and their clusters: what the command line and the Python API do with a run,
wherever it runs. It is no API itself: that is `orchestrator.api`.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator import runs
from orchestrator.cluster.headers import check_headers
from orchestrator.launch.request import Shipping
from orchestrator.launch.resumption import Resumption, check_resumption
from orchestrator.launch.submission import Submission, check_new_run
from orchestrator.observe.diagnosis import Answer, classify
from orchestrator.observe.endings import record_death, record_given_up
from orchestrator.observe.facts import gather
from orchestrator.observe.observer import Observer
from orchestrator.observe.survey import survey
from orchestrator.observe.wait import wait_for_end
from orchestrator.runs import RunStatus, next_command
from orchestrator.runs.logs import LogLine, read_logs
from orchestrator.spec.job_spec import JobSpec
from workers.errors import ClusterError, InputError, NoSuchRunError, UnreachableError
from workers.records.run_folder import RunFolder, StopRequest
from workers.storage.storage import Storage

if TYPE_CHECKING:
    from orchestrator.cluster.connection import Connection
    from orchestrator.launch.ray_jobs import RayJobsLauncher

_POLL_S = 0.5


class Client:
    """The runs of one storage, and the cluster that new ones go to.

    Without an address there is nothing to submit to, but everything in the storage can be read: a
    run's record outlives its cluster.
    """

    def __init__(
        self,
        storage: str = runs.DEFAULT_STORAGE,
        address: str | None = None,
        verify: bool = True,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Open the storage; nothing is asked of the cluster.

        Args:
            storage: a path, or a URI that pyarrow opens.
            address: of the cluster's dashboard, or the name of a local cluster. The token and the
                headers are sent to no cluster that is named only by a run's record.
            verify: whether the cluster's certificate must be one that can be checked.
            headers: sent with each request, beside the token, which is found by itself.

        Raises InputError or StorageError.
        """
        self.storage = Storage(storage)
        self._address, self._verify = address, verify
        self._headers = check_headers(headers or {})

    def submit(
        self, spec: JobSpec, run_id: str | None = None, shipping: Shipping | None = None
    ) -> RunFolder:
        """Hand a job to the cluster and return at once.

        The run is in the storage of this client, whatever the spec says. Raises JobError, and then
        nothing is left of the run.
        """
        return self.check(spec, run_id, shipping).start()

    def check(
        self, spec: JobSpec, run_id: str | None = None, shipping: Shipping | None = None
    ) -> Submission:
        """Check what `submit` would start: its data is prepared and the cluster asked.

        Nothing is written to the storage or the cluster. Raises JobError.
        """
        spec = spec.with_values({"storage": self.storage.uri})
        return check_new_run(spec, self.launcher(self._address, shipping), run_id)

    def resume(
        self, name: str, values: Mapping[str, Any] | None = None, shipping: Shipping | None = None
    ) -> RunFolder:
        """Let the cluster take up a run that ended, wherever it ran before, and return at once.

        `values`: dotted keys of the spec to change; see `launch.resumption.check_resumption`.

        Raises JobError.
        """
        return self.check_resumption(name, values or {}, shipping).start()

    def check_resumption(
        self, name: str, values: Mapping[str, Any], shipping: Shipping | None = None
    ) -> Resumption:
        """Check what `resume` would start. Raises JobError."""
        launcher = self.launcher(self._address, shipping)
        observer = self.observe(name)
        return check_resumption(observer.run, observer.status(), launcher, values)

    def list_runs(
        self, left_out: Callable[[NoSuchRunError], None] = lambda error: None
    ) -> list[RunStatus]:
        """Return the status of every run, newest first. All clusters together have two seconds.

        `left_out`: called with the reason for each run whose record cannot be read.
        """
        return survey(self.storage, runs.list_runs(self.storage, left_out), self._connection_of)

    def get_run(self, name: str) -> RunFolder:
        """Return the run of an id, a unique prefix of one, or `@last`. Raises NoSuchRunError."""
        return runs.find_run(self.storage, name)

    def status(self, name: str) -> RunStatus:
        """Return the run's state, decided from its record, its process and its cluster."""
        return self.observe(name).status()

    def observe(self, name: str) -> Observer:
        """Return an observer, to look at one run again and again."""
        run = self.get_run(name)
        return Observer(run, lambda address: self._recorded_launcher(run, address))

    def check_cluster_of(self, name: str) -> None:
        """Raise InputError or NoSuchClusterError if a run that goes on names a cluster that is not
        asked, because the user has never named it or has no valid token for it."""
        run = self.get_run(name)
        status = runs.read_status(run)
        if status.is_on_cluster and not status.is_terminal:
            self._recorded_connection(run.run_id, status.address)

    def why(self, name: str) -> tuple[RunStatus, Answer]:
        """Return the run's state, and why it does not run or why it failed.

        Takes ten seconds at most, and answers from the run folder if the cluster is gone. Raises
        NoSuchRunError or StorageError.
        """
        observer = self.observe(name)
        facts = gather(observer, self._connection_of, self.storage)
        return facts.status, classify(facts)

    def wait(self, name: str, timeout_s: float | None = None) -> RunStatus:
        """Return the status once the run has ended. Raises WaitTimeoutError."""
        observer = self.observe(name)
        return wait_for_end(observer.run, observer.status, timeout_s=timeout_s)

    def logs(
        self,
        name: str,
        keep: Callable[[LogLine], bool] = lambda _: True,
        follow: bool = False,
        tail: int | None = None,
    ) -> Iterator[LogLine]:
        """Yield the lines of the driver and all workers, oldest first.

        Args:
            keep: tells which lines are wanted.
            follow: go on until the run ends.
            tail: of the lines that are there already yield only this many, the last ones.
        """
        observer = self.observe(name)
        seen: dict[str, int] = {}
        lines = list(filter(keep, read_logs(observer.run, seen)))
        yield from lines if tail is None else lines[max(0, len(lines) - tail) :]
        has_ended = not follow
        while not has_ended:
            has_ended = observer.status().is_terminal
            # Read after the end, too: the driver closes its log just after it wrote its outcome.
            time.sleep(max(_POLL_S, observer.run.poll_s))
            yield from filter(keep, read_logs(observer.run, seen))

    def stop(self, name: str, force: bool = False) -> RunStatus:
        """Ask a run to stop with a checkpoint; with `force` end it at once.

        Returns the status at that moment. It is STOPPED only if the run was forced, also if it is
        lost or its cluster is gone, so that the run can be resumed elsewhere or deleted. Raises
        InputError if the run has ended already, or is on no cluster that could end it.
        """
        observer = self.observe(name)
        run, status = observer.run, observer.status()
        at_once = force and status.is_on_cluster
        if status.state == runs.LOST:
            if force:
                return record_given_up(run, status.reason)
            raise InputError(f"{run.run_id} is LOST: {status.reason}", status.cure)
        if status.is_terminal:
            raise InputError(
                f"{run.run_id} has ended already: {status.state}",
                f"see {next_command(run, 'show')}",
            )
        # A cluster that the user never named is refused before anything is written.
        launcher = self._recorded_launcher(run, status.address) if at_once else None
        run.ask_to_stop(StopRequest("rnnjob stop", at_once=at_once))
        if not force:
            return status
        if launcher is None:
            raise InputError(
                f"{run.run_id} runs in a process of {status.host}, pid {status.pid}, "
                "and not on a cluster",
                "it was asked to stop with a checkpoint; end the process there if it does not",
            )
        if isinstance(observer.refusal, UnreachableError):
            return record_given_up(run, observer.refusal.cause)
        if not launcher.kill(run):
            raise ClusterError(
                f"{run.run_id} does not end on {status.address}",
                f"see its dashboard, or try again: {next_command(run, 'stop', '--force')}",
            )
        return record_death(run, launcher, status)

    def delete(self, name: str) -> None:
        """Remove the folder of a run that has ended, and what its cluster remembers of it, if the
        cluster can be reached. Raises InputError if the run has not ended."""
        self.delete_ended([self.get_run(name)])

    def delete_ended(self, ended: Sequence[RunFolder]) -> None:
        """Delete runs as `delete` does. A cluster that does not answer is asked once.

        Raises InputError at the first that has not ended, or not any more.
        """
        silent: set[str] = set()
        for run in ended:
            status = self.check_deletable(run.run_id)
            if status.is_on_cluster and status.address not in silent:
                try:
                    self._recorded_launcher(run, status.address).forget(run)
                except (ClusterError, InputError):
                    silent.add(status.address)
            run.storage.delete()

    def check_deletable(self, name: str) -> RunStatus:
        """Return the status of a run that has ended. Raises InputError if it has not ended."""
        observer = self.observe(name)
        run, status = observer.run, observer.status()
        if status.is_terminal:
            return status
        stop = f"{next_command(run, 'stop')}, then {next_command(run, 'wait')}"
        raise InputError(
            f"{run.run_id} is {status.state}; only a run that has ended can be deleted",
            status.cure if status.state == runs.UNREACHABLE else stop,
        )

    def launcher(self, address: str | None, shipping: Shipping | None = None) -> "RayJobsLauncher":
        """Return the launcher for a cluster that the user names. Raises InputError without one."""
        from orchestrator.launch.ray_jobs import RayJobsLauncher

        return RayJobsLauncher(self.connection(address), shipping)

    def connection(self, address: str | None) -> "Connection":
        """Return the way to a cluster that the user names, with this client's headers.

        Raises InputError.
        """
        from orchestrator.cluster.known_addresses import named_connection

        return self._with_headers(named_connection(address))

    def _recorded_launcher(self, run: RunFolder, address: str) -> "RayJobsLauncher":
        """Return the launcher for the cluster that a run's record names; see below."""
        from orchestrator.launch.ray_jobs import RayJobsLauncher

        return RayJobsLauncher(self._recorded_connection(run.run_id, address))

    def _connection_of(self, status: RunStatus) -> "Connection":
        """Return the way to the cluster on which a run is; see below."""
        return self._recorded_connection(status.run_id, status.address)

    def _recorded_connection(self, run_id: str, address: str) -> "Connection":
        """Return the way to the cluster that a run's record names.

        Raises InputError if the user has never named that cluster, here or to this client.
        """
        from orchestrator.cluster.known_addresses import named_connection, recorded_connection

        named = ""
        if self._address is not None:
            with contextlib.suppress(ClusterError, InputError):
                named = named_connection(self._address).address
        return self._with_headers(recorded_connection(address, run_id, named))

    def _with_headers(self, found: "Connection") -> "Connection":
        return replace(found, headers={**found.headers, **self._headers}, verify=self._verify)
