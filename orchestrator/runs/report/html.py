"""Write report.html: one run on one page, which needs no other file."""

from html import escape
from typing import Any

from orchestrator.runs.metrics import metric_name, metrics_of, score_of, show_metric
from orchestrator.runs.report.charts import Series, confusion_table, line_chart
from orchestrator.units import show_duration
from workers.records.run_folder import RunFolder
from workers.storage.typed_json import Json

_MAX_POINTS = 400
_NONE = "&ndash;"

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --dim: #667085; --line: #d9dee7; --a: #2563eb;
  --b: #d97706; --bad: 220, 38, 38; --paper: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --dim: #98a2b3; --line: #344054;
  --a: #7aa2ff; --b: #f5b04c; --paper: #12161d; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1000px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
.sub, figcaption, caption { color: var(--dim); font-size: .85rem; text-align: left; }
.cards { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.25rem 0; }
.card { border: 1px solid var(--line); border-radius: 8px; padding: .6rem .9rem; min-width: 8rem; }
.card b { display: block; font-size: 1.25rem; font-variant-numeric: tabular-nums; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(340px, 1fr)); gap: 1rem; }
figure { margin: 0; } svg { width: 100%; height: auto; }
.grid { stroke: var(--line); } .tick { fill: var(--dim); font-size: 11px; }
.line { fill: none; stroke-width: 1.8; } .line.a { stroke: var(--a); } .line.b { stroke: var(--b); }
.dot.a { fill: var(--a); } .dot.b { fill: var(--b); }
.key::before { content: ""; display: inline-block; width: .7em; height: .7em; border-radius: 2px;
  margin: 0 .3em 0 .8em; } .key.a::before { background: var(--a); }
.key.b::before { background: var(--b); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .85rem; }
th, td { padding: .2rem .55rem; text-align: right; } th { color: var(--dim); font-weight: 500; }
.wide { overflow-x: auto; } .confusion td { border: 1px solid var(--line); min-width: 2.2rem; }
.confusion .right { font-weight: 600; } .confusion .none { color: var(--line); }
.confusion .wrong { background: rgba(var(--bad), calc(.12 + .5 * var(--share))); }
code { font-size: .85rem; overflow-wrap: anywhere; }
"""


def write_report(run: RunFolder, result: Json) -> None:
    """Write report.html from the content of result.json and the metrics. Raises StorageError."""
    page = render(result, run.read_metrics())
    # A reason may quote file names or damaged logs, which need not be valid text.
    run.storage.write(run.REPORT, page.encode(errors="backslashreplace"))


def render(result: Json, records: list[Json]) -> str:
    """Return the HTML page of a run that has ended, whether it succeeded or not."""
    run_id = escape(str(result["run_id"]))
    reason = f" &middot; {escape(result['reason'])}" if result.get("reason") else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{run_id}</title>
<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>
<h1>{run_id}</h1>
<div class="sub">{escape(result["state"])}{reason} &middot; {escape(result["mode"])},
{result["workers"] or "?"} worker(s) &middot; {escape(str(result["precision"]))} &middot;
{show_duration(result["wall_s"])}</div>
<div class="cards">{_cards(result)}</div>
<div class="charts">{_charts(result, records)}</div>
{_epochs(result)}
{_classes(result)}
<h2>Is it the same run?</h2>
<p>weights <code>{result["weights_sha256"] or "none"}</code><br>
job <code>{result["fingerprint"] or "none"}</code></p>
</body></html>
"""


def _cards(result: Json) -> str:
    values = [
        *_metric_cards(result, "test"),
        ("test loss", _number(result["test_loss"])),
        *_metric_cards(result, "validation")[:1],
        ("epochs", str(result["epochs"])),
        ("steps", f"{result['steps']:,}"),
        ("samples/s", _number(result["samples_per_s"], ",.0f")),
    ]
    if "test_head_rows" in result:
        name = f"first {result['test_head_rows']:,} test rows"
        values.insert(1, (name, show_metric(*(score_of(result, "test_head_") or ("", None)))))
    return "".join(f'<div class="card"><b>{value}</b>{name}</div>' for name, value in values)


def _metric_cards(result: Json, split: str) -> list[tuple[str, str]]:
    metrics: dict[str, float | None] = {**metrics_of(result, f"{split}_")}
    return [
        (f"{split} {metric_name(name)}", show_metric(name, value) if value is not None else _NONE)
        for name, value in (metrics or {"accuracy": None}).items()
    ]


def _charts(result: Json, records: list[Json]) -> str:
    steps = _thin_out([r for r in records if r.get("kind") == "step"])
    epochs = result["history"]
    score = _score_of(epochs)
    return "".join(
        [
            line_chart(
                "Loss",
                "step",
                [
                    Series("training", "a", [(r["step"], r["loss"]) for r in steps]),
                    Series("validation", "b", _points(epochs, "step", "validation_loss")),
                ],
            ),
            line_chart(
                _title(score),
                "epoch",
                [
                    Series("training", "a", _points(epochs, "epoch", f"train_{score}")),
                    Series("validation", "b", _points(epochs, "epoch", f"validation_{score}")),
                ],
                percent=score == "accuracy",
            ),
            line_chart(
                "Learning rate",
                "step",
                [Series("rate", "a", [(r["step"], r["lr"]) for r in steps])],
            ),
            line_chart(
                "Gradient norm, before clipping",
                "step",
                [Series("norm", "a", [(r["step"], r["gradient_norm"]) for r in steps])],
            ),
        ]
    )


def _score_of(epochs: list[Json]) -> str:
    """Return the name of the score in the records of epochs."""
    score = score_of(epochs[0], "train_") if epochs else None
    return score[0] if score else "accuracy"


def _title(metric: str) -> str:
    name = metric_name(metric)
    return name[:1].upper() + name[1:]


def _thin_out(records: list[Json]) -> list[Json]:
    return records[:: -(-len(records) // _MAX_POINTS) or 1]


def _points(epochs: list[Json], x: str, y: str) -> list[tuple[float, float]]:
    return [(epoch[x], epoch[y]) for epoch in epochs if y in epoch]


def _epochs(result: Json) -> str:
    score = _score_of(result["history"])
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
    ]
    return _table("Epochs", columns, result["history"])


def _classes(result: Json) -> str:
    if not result["per_class"]:
        return ""
    columns = [
        ("class", "name", "s"),
        ("rows", "rows", ",d"),
        ("precision", "precision", ".2%"),
        ("recall", "recall", ".2%"),
    ]
    # Results of older runs have only numbers of classes.
    classes = [{**row, "name": str(row.get("name", row["class"]))} for row in result["per_class"]]
    per_class = _table("Test split by class", columns, classes)
    names = [row["name"] for row in classes]
    matrix = confusion_table(result["confusion_matrix"], names)
    return f'{per_class}<div class="wide">{matrix}</div>'


def _table(title: str, columns: list[tuple[str, str, str]], rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{name}</th>" for name, _, _ in columns)
    body = "".join(
        "<tr>"
        + "".join(f"<td>{_number(row.get(key), form)}</td>" for _, key, form in columns)
        + "</tr>"
        for row in rows
    )
    return f'<h2>{title}</h2><div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _number(value: float | str | None, form: str = ".4f") -> str:
    return _NONE if value is None else escape(format(value, form))
