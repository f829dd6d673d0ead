"""The progress of rows: a bar with the time left, on a terminal only."""

from types import TracebackType

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from orchestrator.display.console import PrintableConsole


class RowProgress:
    """Shows on stderr how many rows are done."""

    def __init__(self, what: str, total: int | None, is_shown: bool = True) -> None:
        """`total`: None if nobody knows."""
        console = PrintableConsole(stderr=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TaskProgressColumn(show_speed=True),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not (is_shown and console.is_terminal),
        )
        self._task = self._progress.add_task(what, total=total)

    def __enter__(self) -> "RowProgress":
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def advance(self, rows: int) -> None:
        self._progress.advance(self._task, rows)

    def set(self, rows: int, total: int | None = None) -> None:
        """`total`: if it was not known at first."""
        self._progress.update(self._task, completed=rows, total=total)

    def tell(self, what: str, rows: int, total: int) -> None:
        """Show the progress of one of several things that are done to all rows."""
        self._progress.update(self._task, description=what, completed=rows, total=total)
