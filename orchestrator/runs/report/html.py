"""Write report.html: one run, or several, on one page, which needs no other file."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from orchestrator.runs.metrics import score_of, show_metric
from orchestrator.runs.report import sections
from orchestrator.runs.report.charts import NUM_COLOURS
from orchestrator.runs.report.content import Predicted, Reported, read_reported
from orchestrator.runs.report.curves import curves
from orchestrator.runs.report.figure import STYLE
from orchestrator.runs.report.over_time import over_time
from orchestrator.runs.report.split import test_split
from orchestrator.runs.report.tables import number, table
from orchestrator.units import show_duration
from workers.errors import InputError
from workers.records.run_folder import RunFolder
from workers.storage.typed_json import Json
from workers.trained.explain.explanation import Explanation

MAX_RUNS = NUM_COLOURS
_HERE = Path(__file__).parent
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""The page loads nothing, and sends nothing, whatever is in it."""


def write_report(run: RunFolder, result: Json, test: Predicted | str = "") -> None:
    """Write report.html from the content of result.json and the metrics. Raises StorageError."""
    run.storage.write(run.REPORT, render([read_reported(run, result, test)]))


def render(runs: Sequence[Reported], explained: Sequence[Explanation] = ()) -> bytes:
    """Return the HTML page of runs that have ended, whether they succeeded or not.

    `explained`: what their models do while they read.

    Raises InputError for runs of different tasks, or for too many of them.
    """
    _check(runs)
    more = over_time(explained)
    body = _one(runs[0], more) if len(runs) == 1 else _several(runs, more)
    return page(", ".join(run.run_id for run in runs), body)


def render_explained(explained: Sequence[Explanation]) -> bytes:
    """Return the HTML page of what models do while they read. Raises InputError as `over_time`."""
    names = ", ".join(found.name for found in explained)
    return page(names, f"<h1>{escape(names)}</h1>{over_time(explained)}")


def page(title: str, body: str) -> bytes:
    """Return a page that loads nothing. `body`: HTML."""
    style = STYLE + (_HERE / "page.css").read_text(encoding="utf-8")
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    text = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title><style>\n{style}</style></head><body><main>\n{body}\n</main>"
        f"<script>\n{script}</script></body></html>\n"
    )
    # A reason may quote file names or damaged logs, which need not be valid text.
    return text.encode(errors="backslashreplace")


def _check(runs: Sequence[Reported]) -> None:
    if len(runs) > MAX_RUNS:
        raise InputError(
            f"{len(runs)} runs do not fit one report", f"name up to {MAX_RUNS} of them"
        )
    tasks = [(run, kind) for run in runs if (kind := _score(run))]
    for run, kind in tasks[1:]:
        if kind != tasks[0][1]:
            raise InputError(
                f"{tasks[0][0].run_id} has the metric {tasks[0][1]} and {run.run_id} {kind}: they "
                "are runs of different tasks",
                "make a report for each task",
            )


def _score(run: Reported) -> str:
    """Return what says how good a run is, which tells its task; empty if it did not train."""
    found = score_of(run.result, "test_") or next(
        (score_of(epoch, "train_") for epoch in run.result["history"]), None
    )
    return found[0] if found else ""


def _one(run: Reported, more: str) -> str:
    return "\n".join(
        [
            f"<h1>{escape(run.run_id)}</h1>{sections.state_line(run.result)}",
            sections.cards(run.result),
            _under(
                "Curves", f'<div class="charts">{charts}</div>' if (charts := curves([run])) else ""
            ),
            more,
            _under("In detail", _details(run)),
            sections.spec_differences([run]) if run.spec is not None else "",
        ]
    )


def _under(heading: str, content: str) -> str:
    return f"<h2>{heading}</h2>{content}" if content else ""


def _several(runs: Sequence[Reported], more: str) -> str:
    return "\n".join(
        [
            f"<h1>{len(runs)} runs</h1>",
            _overview(runs),
            f'<h2>Curves</h2><div class="charts">{curves(runs)}</div>',
            more,
            sections.spec_differences(runs),
            *(
                f"<details><summary>{escape(run.run_id)}</summary>"
                f"{sections.state_line(run.result)}{_details(run)}</details>"
                for run in runs
            ),
        ]
    )


def _overview(runs: Sequence[Reported]) -> str:
    rows = [
        [
            f'<span class="key c{place}">{escape(run.run_id)}</span>',
            escape(run.result["state"]),
            show_metric(*(score_of(run.result, "test_") or ("", None))),
            number(run.result["test_loss"]),
            number(run.result["samples_per_s"], ",.0f"),
            show_duration(run.result["wall_s"]),
            f"<code>{escape((run.result['weights_sha256'] or 'none')[:12])}</code>",
        ]
        for place, run in enumerate(runs)
    ]
    score = next(filter(None, map(_score, runs)), "score")
    head = ["run", "state", f"test {score}", "test loss", "samples/s", "time", "weights"]
    return table(head, rows)


def _details(run: Reported) -> str:
    return "\n".join(
        [
            f'<div class="pair">{sections.time_spent(run)}{sections.workers_over_time(run)}</div>',
            test_split(run),
            sections.epochs(run.result),
            sections.origin(run),
        ]
    )
