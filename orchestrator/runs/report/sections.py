"""The sections of one run on a page: time, workers, spec, origin, the account of the rows."""

from collections.abc import Sequence
from html import escape
from typing import Any

from orchestrator.runs.comparison import flatten
from orchestrator.runs.metrics import metric_name, metrics_of, score_of, show_metric
from orchestrator.runs.report.charts import Series, chart
from orchestrator.runs.report.content import Reported
from orchestrator.runs.report.curves import score_name
from orchestrator.runs.report.tables import NONE, number, records_table, table, text_of
from orchestrator.units import show_duration
from workers.storage.typed_json import Json

_MAX_FACTS = 200


def cards(result: Json) -> str:
    """Return the numbers that say most about a run."""
    values = [
        *_metric_cards(result, "test"),
        ("test loss", number(result["test_loss"])),
        *_metric_cards(result, "validation")[:1],
        ("epochs", str(result["epochs"])),
        ("steps", f"{result['steps']:,}"),
        ("samples/s", number(result["samples_per_s"], ",.0f")),
        ("time", show_duration(result["wall_s"])),
    ]
    if "test_head_rows" in result:
        name = f"first {result['test_head_rows']:,} test rows"
        values.insert(1, (name, show_metric(*(score_of(result, "test_head_") or ("", None)))))
    each = "".join(f'<div class="card"><b>{value}</b>{name}</div>' for name, value in values)
    return f'<div class="cards">{each}</div>'


def _metric_cards(result: Json, split: str) -> list[tuple[str, str]]:
    metrics: dict[str, float | None] = {**metrics_of(result, f"{split}_")}
    return [
        (f"{split} {metric_name(name)}", show_metric(name, value) if value is not None else NONE)
        for name, value in (metrics or {"accuracy": None}).items()
    ]


def state_line(result: Json) -> str:
    """Return state, reason, place and precision of a run."""
    parts = [
        escape(result["state"]),
        escape(result["reason"]) if result.get("reason") else "",
        f"{escape(result['mode'])}, {result['workers'] or '?'} worker(s)",
        escape(str(result["precision"])),
        show_duration(result["wall_s"]),
    ]
    return f'<div class="sub">{" &middot; ".join(filter(None, parts))}</div>'


def time_spent(run: Reported) -> str:
    """Return a bar and a table that say where the time of a run went; empty if it did not train."""
    seconds = seconds_spent(run)
    whole = sum(seconds.values())
    if not run.result["history"] or whole <= 0:
        return ""
    spans = "".join(
        f'<span class="c{place}" style="flex:{value:.4f}" title="{name} {value:.1f} s"></span>'
        for place, (name, value) in enumerate(seconds.items())
    )
    words = ", ".join(f"{name} {value / whole:.0%}" for name, value in seconds.items())
    rows = [
        [f'<span class="key c{place}">{name}</span>', f"{value:,.1f}", f"{value / whole:.1%}"]
        for place, (name, value) in enumerate(seconds.items())
    ]
    return (
        f'<section><h3>Where the time went</h3><div class="bar" role="img" aria-label="{words}">'
        f"{spans}</div>{table(['part', 'seconds', 'share'], rows)}</section>"
    )


def seconds_spent(run: Reported) -> dict[str, float]:
    """Return the seconds of a run's last execution and of what it went on from, by what took them.

    Those of data, compute and exchange are the means over the workers. What is left of the time of
    training is `other`: checkpoints, of which only the copy in memory takes time, logs and waits.
    """
    epochs = run.result["history"]
    spent = {
        name: sum(epoch.get(key, 0.0) for epoch in epochs)
        for name, key in (
            ("data", "data_s"), ("compute", "compute_s"), ("exchange", "exchange_s"),
            ("validation", "validation_s"),
        )
    }  # fmt: skip
    phases = run.result["phases"]
    training = sum(phase["seconds"] for phase in phases)
    idle = sum(phase["idle_s"] for phase in phases)
    start = max(0.0, run.result["wall_s"] - training - idle)
    other = max(0.0, training - sum(spent.values()))
    return {"start and end": start, **spent, "checkpoints, test, other": other, "restarts": idle}


def workers_over_time(run: Reported) -> str:
    """Return the workers of each start over time, with the restarts marked."""
    phases = run.result["phases"]
    if not phases or not run.starts:
        return ""
    points, marks, now = list[tuple[float, float]](), list[tuple[float, str]](), 0.0
    for phase in phases:
        if points:
            points.append((now, 0.0))
            now += phase["idle_s"]
            marks.append((now, f"start {phase['attempt']} at step {phase['from_step']}"))
            points.append((now, 0.0))
        points.append((now, float(phase["workers"])))
        now += phase["seconds"]
        points.append((now, float(phase["workers"])))
    figure = chart(
        "Workers", "seconds since the first step", [Series("workers", 0, points)],
        marks=marks, is_count=True,
        note=f"{len(marks)} restart(s), marked" if marks else "no restart",
    )  # fmt: skip
    columns = [
        ("start", "attempt", "d"), ("workers", "workers", "d"),
        ("CPUs of each", "cpus_per_worker", "d"), ("from step", "from_step", ",d"),
        ("steps", "steps", ",d"), ("seconds", "seconds", ",.1f"),
        ("repeated steps", "repeated_steps", ",d"), ("idle s", "idle_s", ",.1f"),
    ]  # fmt: skip
    why = "".join(f"<li>{escape(line)}</li>" for line in run.restarts)
    return (
        f"<section><h3>Workers over time</h3>{figure}{records_table(columns, phases)}"
        + (f'<ul class="sub">{why}</ul>' if why else "")
        + "</section>"
    )


def epochs(result: Json) -> str:
    """Return the table of epochs with the account of the rows."""
    score = score_name(result["history"])
    name, form = ("acc.", ".2%") if score == "accuracy" else (metric_name(score), ".4g")
    columns = [
        ("epoch", "epoch", "d"),
        ("train loss", "train_loss", ".4f"),
        (f"train {name}", f"train_{score}", form),
        ("val. loss", "validation_loss", ".4f"),
        (f"val. {name}", f"validation_{score}", form),
        ("samples/s", "samples_per_s", ",.0f"),
        ("data s", "data_s", ".2f"),
        ("compute s", "compute_s", ".2f"),
        ("exchange s", "exchange_s", ".2f"),
        ("rows", "rows_seen", ",d"),
        ("twice", "rows_seen_twice", "d"),
        ("dropped", "rows_dropped", "d"),
        ("not reached", "rows_not_reached", "d"),
    ]
    shown = records_table(columns, result["history"])
    return f"<h3>Epochs, and the account of the rows</h3>{_account(result)}{shown}" if shown else ""


def _account(result: Json) -> str:
    counts = {
        key: sum(epoch.get(f"rows_{key}", 0) for epoch in result["history"])
        for key in ("seen", "seen_twice", "dropped", "not_reached")
    }
    return (
        f'<p class="sub">{counts["seen"]:,} rows were trained on in {len(result["history"])} '
        f"epoch(s); {counts['seen_twice']:,} of them twice in an epoch, {counts['dropped']:,} "
        f"dropped, {counts['not_reached']:,} not reached.</p>"
    )


def spec_differences(runs: Sequence[Reported]) -> str:
    """Return the keys of the specs whose values are not the defaults, side by side."""
    keys = dict.fromkeys(key for run in runs for key in run.changed)
    rows = [[escape(key), *(_value(run.spec, key) for run in runs)] for key in keys]
    head = ["key", *(escape(run.run_id) for run in runs)]
    shown = table(head, rows, "text") or '<p class="sub">All values are the defaults.</p>'
    return f"<h2>Spec: what differs from the defaults</h2>{shown}"


def _value(spec: Any, key: str) -> str:
    return NONE if spec is None else text_of(spec.get(key))


def origin(run: Reported) -> str:
    """Return where a result came from."""
    weights, job = run.result["weights_sha256"] or "none", run.result["fingerprint"] or "none"
    facts = flatten(run.provenance or {})
    skipped = ("model.", "training.", "augment.", "schema_version", "run_id")
    rows = [
        [escape(key), text_of(value)] for key, value in facts.items() if not key.startswith(skipped)
    ]
    shown = table(["fact", "value"], rows[:_MAX_FACTS], "text")
    return (
        f"<h3>Is it the same run?</h3><p>weights <code>{escape(weights)}</code><br>job "
        f"<code>{escape(job)}</code></p><details><summary>Where the result came from</summary>"
        f"{shown or 'There is no provenance.json.'}</details>"
    )
