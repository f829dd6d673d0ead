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
from rich.table import Table

from orchestrator.cli.console import PrintableConsole
from orchestrator.cli.output import printable
from orchestrator.runs import RunStatus
from orchestrator.runs.metrics import (
    describe_score,
    metric_name,
    metrics_of,
    score_of,
    show_metric,
)
from orchestrator.units import show_duration
from workers.records.run_folder import RunFolder
from workers.storage.typed_json import Json


class JobView:
    """A display of a job's records as they arrive. It uses stderr, since stdout is for results."""

    def __init__(self, num_steps: int, print_every_steps: int, quiet: bool = False) -> None:
        self.console = PrintableConsole(stderr=True, quiet=quiet, soft_wrap=True)
        self._every = print_every_steps
        self._last_step = self._last_epoch = 0
        self._state = ""
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
        self._task = self._progress.add_task("starting", total=num_steps, now="")

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

    def note(self, text: str) -> None:
        self.console.print(text)

    def update(self, status: RunStatus, records: list[Json]) -> None:
        if status.state != self._state:
            self._state = status.state
            self._progress.update(self._task, description=printable(status.state.lower()))
        for record in records:
            self._show(record)

    def _show(self, record: Json) -> None:
        kind, step = record.get("kind"), record.get("step", 0)
        if kind == "start" and record["attempt"] > 1:
            self.note(
                f"attempt {record['attempt']}: continuing after step {step} "
                f"with {record['workers']} worker(s)"
            )
        if kind == "start" and "other_devices" in record:
            self.note(
                f"warning: {record.get('device')} computes other bits than "
                f"{record['other_devices']}, where steps of this run were computed"
            )
        if kind == "step" and step > self._last_step:
            self._last_step = step
            now = f"loss {record['loss']:.4f}  {describe_score(record, '')}"
            self._progress.update(self._task, completed=step, now=now)
            if self._every and step % self._every == 0:
                self.note(f"step {step:>6}  {now}")
        # A restart of the workers writes all records again.
        if kind == "epoch" and record["epoch"] > self._last_epoch:
            self._last_epoch = record["epoch"]
            validation = (
                f"  validation loss {record['validation_loss']:.4f} "
                f"{describe_score(record, 'validation_')}"
                if "validation_loss" in record
                else ""
            )
            self.note(
                f"epoch {record['epoch']:>3}  loss {record['train_loss']:.4f} "
                f"{describe_score(record, 'train_')}{validation}  "
                f"{record['samples_per_s']:,.0f} samples/s"
            )


def show_outcome(
    console: PrintableConsole, run: RunFolder, status: RunStatus, result: Json
) -> None:
    """Print the table that closes a run."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in outcome_rows(run, status, result):
        is_score = name == score_name(result)
        table.add_row(name, value, style="bold" if is_score else None)
    console.print(table)


def outcome_rows(run: RunFolder, status: RunStatus, result: Json) -> list[tuple[str, str]]:
    """Return names and values of the facts to print about a run. Unknown values are left out."""

    head, score = result.get("test_head_rows"), score_of(result, "test_head_")
    samples = result.get("samples_per_s")
    rows = [
        ("run", status.run_id),
        ("state", status.state + (f": {status.reason}" if status.reason else "")),
        *_metric_rows(result, "test"),
        (f"  first {head:,} rows" if head else "", show_metric(*score) if score else None),
        *_metric_rows(result, "validation")[:1],
        ("epochs, steps", f"{result.get('epochs', 0)}, {result.get('steps', 0):,}"),
        ("rows trained on", f"{result.get('train_rows_seen', 0):,}"),
        ("samples/s", f"{samples:,.0f}" if samples else None),
        ("time", show_duration(result["wall_s"]) if result.get("wall_s") else None),
        ("weights", (result.get("weights_sha256") or "")[:16] or None),
        ("run folder", run.storage.where()),
    ]
    return [(name, value) for name, value in rows if value]


def _metric_rows(result: Json, split: str) -> list[tuple[str, str]]:
    metrics = metrics_of(result, f"{split}_")
    return [(f"{split} {metric_name(m)}", show_metric(m, value)) for m, value in metrics.items()]


def score_name(result: Json) -> str:
    """Return what `outcome_rows` calls the score of the test split."""
    return next((name for name, _ in _metric_rows(result, "test")), "")
