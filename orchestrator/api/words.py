"""How a run is shown where it ends a cell or a line of Python. No cluster is asked for that."""

from orchestrator.display.notebook import as_table
from orchestrator.display.outcome import outcome_rows
from orchestrator.display.text import printable
from orchestrator.observe.evidence import state_here
from orchestrator.runs.metrics import describe_score
from orchestrator.runs.result import read_result
from workers.errors import JobError
from workers.records.run_folder import RunFolder
from workers.storage.typed_json import Json


def in_one_line(run: RunFolder) -> str:
    """Return the text for `repr`: id, state, reason or score, folder."""
    try:
        status = state_here(run)
        score = describe_score(read_result(run) or {}, "test_") if status.is_terminal else ""
        about = status.reason or (f"test {score}" if score else "")
        text = f"{status.state}{': ' if status.reason else ', ' if about else ''}{about}"
    except JobError as error:
        return printable(f"<Run {run.run_id}: {' '.join(error.cause.split())}>")
    return printable(f"<Run {run.run_id} {' '.join(text.split())}, {run.storage.where()}>")


def as_html(run: RunFolder) -> str:
    """Return a table for a notebook."""
    try:
        return as_table(_rows(run))
    except JobError as error:
        return as_table([("run", run.run_id), ("", error.cause)])


def _rows(run: RunFolder) -> list[tuple[str, str]]:
    status = state_here(run)
    if status.is_terminal:
        return outcome_rows(run, status, read_result(run) or {})
    last: Json = run.use_metrics(
        lambda records: max((r for r in records if r["kind"] == "step"), key=_step, default={})
    )
    rows = [("run", run.run_id), ("state", status.state)]
    if status.reason:
        rows.append(("reason", status.reason))
    if last:
        rows.append(("step", f"{last['step']:,}, loss {last['loss']:.4f}"))
    return [*rows, ("run folder", run.storage.where())]


def _step(record: Json) -> int:
    return int(record["step"])
