"""A run as the API shows it: watched, waited for, stopped, gone on with."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from orchestrator.api import words
from orchestrator.api.given import shipping_from, values_from
from orchestrator.api.model_use import ModelUse
from orchestrator.api.report import Report
from orchestrator.api.start import Started, launcher_for, start
from orchestrator.api.tables import table_of
from orchestrator.api.waiting import failure_of, wait_here, wait_there
from orchestrator.client import Client
from orchestrator.display.text import printable
from orchestrator.launch.destination import where_to_resume
from orchestrator.launch.resumption import check_resumption
from orchestrator.runs import SUCCEEDED, RunStatus
from orchestrator.runs.result import read_result
from orchestrator.spec.job_spec import JobSpec
from orchestrator.spec.plan import read_spec
from orchestrator.tracking.named import tracker_for
from orchestrator.trained.track import track
from workers.errors import InputError
from workers.records.run_folder import RunFolder


class Run(ModelUse):
    """One run of a job, on this machine or on a cluster: its state, its outcome, its model.

    `submit`, `open_run` and `list_runs` return it. Everything is read from the run's folder when it
    is asked for, and the state also from its cluster. A notebook shows a run as a table.
    """

    def __init__(self, client: Client, folder: RunFolder, started: Started | None = None) -> None:
        """`started`: what is known of a run that this process started."""
        super().__init__(client, folder)
        self._started = started

    @property
    def id(self) -> str:
        """The id, by which `open_run` and the command line find the run."""
        return self._folder.run_id

    @property
    def folder(self) -> str:
        """Where the run's folder is."""
        return self._folder.storage.where()

    @property
    def state(self) -> str:
        """QUEUED, PENDING, RUNNING, RESTARTING, or at the end SUCCEEDED, FAILED or STOPPED.

        LOST, if nobody runs it any more; UNREACHABLE, if its cluster does not answer.
        """
        return self.status.state

    @property
    def status(self) -> RunStatus:
        """The state with its reason, what to do next, the workers and the times."""
        return self._client.status(self.id)

    @property
    def spec(self) -> JobSpec:
        """The job's spec. Once it has begun, nothing in it is left open."""
        return read_spec(self._folder)

    @property
    def result(self) -> dict[str, Any]:
        """The outcome, as in result.json: metrics, rows, `weights_sha256`, the data account.

        Raises JobError before the run has ended.
        """
        if (content := read_result(self._folder)) is None:
            raise InputError(
                f"{self.id} has no result: it is {self.state}", "wait for its end: run.wait()"
            )
        return content

    @property
    def metrics(self) -> pa.Table:
        """A row for each step so far: step, epoch, loss, accuracy or mae, rows, lr and others."""
        return table_of(self._folder, "step")

    @property
    def epochs(self) -> pa.Table:
        """A row for each epoch so far, with the metrics of the training and validation rows."""
        return table_of(self._folder, "epoch")

    def wait(
        self, timeout: float | None = None, *, check: bool = True, progress: bool = True
    ) -> "Run":
        """Wait until the run has ended, show its progress meanwhile, and return the run.

        Ctrl-C, or a notebook's interrupt, stops a run that this process started on this machine,
        with a checkpoint; a second one ends its Ray at once. Any other run goes on. In each case
        KeyboardInterrupt is raised.

        Args:
            timeout: seconds after which to stop waiting. The run goes on.
            check: whether to raise JobError if the run has failed or was stopped.
            progress: whether to show a progress bar, in a notebook or on stderr.

        Raises JobError with the run's reason, or, at the timeout, WaitTimeoutError.
        """
        if self._started and self._started.attendant and self._started.attendant.is_at_work:
            wait_here(self._folder, self._started, self._started.attendant, timeout, progress)
        else:
            observer = self._client.observe(self.id)
            wait_there(self._folder, observer.status, self._started, timeout, progress)
        if check and (status := self.status).state != SUCCEEDED:
            raise failure_of(status)
        return self

    def logs(self, follow: bool = False, tail: int | None = None) -> Iterator[str]:
        """Yield the lines that the driver and the workers printed, oldest first.

        A run in this process (`local`) prints to this process's stderr instead. Characters that a
        terminal obeys are written as escapes.

        Args:
            follow: go on until the run ends.
            tail: of the lines that are there already, yield only this many, the last ones.
        """
        lines = self._client.logs(self.id, follow=follow, tail=tail)
        return (printable(str(line)) for line in lines)

    def why(self) -> str:
        """Say why the run does not run, or why it failed, with evidence and what to do next."""
        _, answer = self._client.why(self.id)
        lines = [f"{answer.category}: {answer.cause}", *answer.evidence, f"Try: {answer.next}"]
        return printable("\n".join(lines))

    def report(self) -> Report:
        """Return the report, which a notebook shows. Raises JobError before the run has ended."""
        return Report(self._folder)

    def track(self, mlflow: str | None = None, *, trust_code: bool = False) -> str:
        """Send what an MLflow server has not got of the run, and return the URL of its page there.

        - `mlflow`: the server's URI; by default `tracking.mlflow` of the spec.
        - `trust_code`: whether the code of the run's own model may be run, whoever wrote it.

        Raises JobError.
        """
        uri = tracker_for(self.spec, self.id, mlflow)
        return track(self._folder, self.status, uri, trust_code).page

    def stop(self, *, force: bool = False) -> "Run":
        """Ask the run to stop after its current step, with a checkpoint, and return at once.

        `force`: end a job on a cluster at once, without a checkpoint. If its cluster is gone, the
        run is given up, so that it can be resumed elsewhere or deleted.

        Raises JobError if the run has ended already.
        """
        self._client.stop(self.id, force)
        return self

    def resume(
        self,
        values: Mapping[str, Any] | None = None,
        /,
        *,
        local: bool = False,
        workers: int | str | None = None,
        address: str | None = None,
        working_dir: str | Path | None = None,
        include: Iterable[str] = (),
        env: Mapping[str, str] | None = None,
        secrets: Iterable[str] = (),
        trust_code: bool = False,
    ) -> "Run":
        """Let a run that ended go on from its last checkpoint, and return at once.

        By default it goes on where it ran before. The result has the bits of an undisturbed run.
        The other arguments are those of `submit`.

        Args:
            values: keys of the spec to change. Of those that decide the result only
                `training.epochs` can be raised, which trains the run beyond its end.
            trust_code: see `model`.

        Raises JobError if the run has not ended, has nothing left to do, or is refused.
        """
        if local and (workers is not None or address is not None):
            raise InputError("local=True is one process", "leave workers and address out")
        mode, cluster = where_to_resume(self._folder, local, workers is not None, address)
        shipping = shipping_from(working_dir, include, env, secrets, cluster)
        changed = values_from(values or {})
        if workers is not None:
            changed["scaling.workers"] = str(workers)
        launcher = launcher_for(self._client, mode, cluster, shipping)
        job = check_resumption(self._folder, self.status, launcher, changed, trust_code)
        self._folder, self._started = start(job)
        return self

    def delete(self) -> None:
        """Remove the folder of a run that has ended, and what its cluster remembers of it.

        Raises JobError if the run has not ended.
        """
        self._client.check_deletable(self.id)
        if self._started and self._started.attendant:
            self._started.attendant.join()
        self._client.delete(self.id)

    def __repr__(self) -> str:
        return words.in_one_line(self._folder)

    def _repr_html_(self) -> str:
        return words.as_html(self._folder)
