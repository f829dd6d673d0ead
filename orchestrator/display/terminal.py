"""The display of a running job: a progress bar on a terminal, plain lines elsewhere."""

from types import TracebackType

from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from orchestrator.display.console import PrintableConsole
from orchestrator.display.text import printable
from orchestrator.runs import RunStatus
from orchestrator.runs.progress import JobProgress, Reached
from workers.storage.typed_json import Json


class JobView:
    """A display of a job's records as they arrive. It uses stderr, since stdout is for results."""

    def __init__(self, num_steps: int | None, print_every_steps: int, quiet: bool = False) -> None:
        self.console = PrintableConsole(stderr=True, quiet=quiet, soft_wrap=True)
        self._job = JobProgress(num_steps, print_every_steps)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[now]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._task = self._progress.add_task(self._job.state, total=num_steps, now="")

    def __enter__(self) -> "JobView":
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def begin_after(self, reached: Reached) -> None:
        self._job.begin_after(reached)

    def note(self, text: str) -> None:
        self.console.print(text)

    def update(self, status: RunStatus, records: list[Json]) -> None:
        lines = self._job.take_up(status, records)
        self._progress.update(
            self._task,
            description=printable(self._job.state),
            completed=self._job.step,
            now=printable(self._job.now),
        )
        for line in lines:
            self.note(line)
