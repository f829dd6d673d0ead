"""Keep the results in RESULTS.json, and write RESULTS.md from them."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.bench.rows import Row


@dataclass(frozen=True)
class Measured:
    """What a contender came to."""

    name: str
    command: str
    unit: str
    figures: list[float]
    """One for each round."""


@dataclass(frozen=True)
class Result:
    """What came of a row."""

    date: str
    commit: str
    figures: list[float]
    """One for each round; none if the row was not measured."""
    load: list[list[float]]
    """The load average of one minute before and after each round."""
    contenders: list[Measured]
    notes: list[str]
    """Why the row, or a contender, was not measured."""


@dataclass(frozen=True)
class Results:
    """The results of one machine with one set of versions."""

    machine: list[str]
    rows: dict[str, Result]


def read(path: Path) -> Results | None:
    """Return the results that were kept, or None if there are none."""
    if not path.exists():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    kept = {
        key: Result(**{**row, "contenders": [Measured(**each) for each in row["contenders"]]})
        for key, row in content["rows"].items()
    }
    return Results(content["machine"], kept)


def write(path: Path, results: Results, rows: Mapping[str, Row]) -> None:
    """Write the results, and beside them the page about them."""
    for target, text in (
        (path, json.dumps(asdict(results), indent=1) + "\n"),
        (path.with_suffix(".md"), page(results, rows)),
    ):
        new = target.with_name(f"{target.name}.new")
        new.write_text(text, encoding="utf-8")
        new.replace(target)


def page(results: Results, rows: Mapping[str, Row]) -> str:
    """Return RESULTS.md. A row that has no result is said to have none."""
    lines = [
        "# rnnjob beside its peers",
        "",
        "`make bench` writes this page. Each row was measured in rounds, in which the commands",
        "below take turns. It is the median of the figures of the rounds: trust it more than the",
        "rates. The batch size of a peer is the best of several. The load is the average of one",
        "minute before and after each round; what is measured adds to it.",
        "",
        *results.machine,
        "",
        "| row | what | wanted | seen | reached | lowest to highest | load | commit, date |",
        "|---|---|---|---|---|---|---|---|",
        *(line(key, row, results.rows.get(key)) for key, row in rows.items()),
        "",
        "## What ran",
        "",
        "DATA is a folder with the rows as Parquet, and FOLDER an empty one. One row alone:",
        "`python -m benchmarks.bench --only ROW`.",
        "",
    ]
    for key in rows:
        if key in results.rows:
            lines += _section(key, results.rows[key])
    return "\n".join(lines).rstrip() + "\n"


def line(key: str, row: Row, result: Result | None) -> str:
    wanted = f"{'at most' if row.at_most else 'at least'} {number(row.wanted, row.unit)}"
    if result is None:
        cells = ["not measured yet", "", "", "", ""]
    elif not result.figures:
        about = f"{result.commit}, {result.date}"
        reasons = "; ".join(result.notes).replace("|", "\\|")
        cells = [f"not measured: {reasons}", "", "", "", about]
    else:
        seen = statistics.median(result.figures)
        low, high = (number(each(result.figures), row.unit) for each in (min, max))
        cells = [
            number(seen, row.unit),
            "yes" if row.reached(seen) else "**no**",
            f"{low} to {high}, {len(result.figures)} round(s)",
            load(result.load),
            f"{result.commit}, {result.date}",
        ]
    return "| " + " | ".join([key, row.what, wanted, *cells]) + " |"


def _section(key: str, result: Result) -> list[str]:
    lines = [f"**{key}**", ""]
    for each in result.contenders:
        median = number(statistics.median(each.figures), each.unit)
        lines.append(f"- {each.name}, {median}: `{each.command}`")
    lines += [f"- {note}" for note in result.notes]
    return [*lines, ""]


def number(value: float, unit: str) -> str:
    """Return a figure as people read it."""
    if unit in ("x", "%"):
        return f"{value:.2f}x" if unit == "x" else f"{value:.0f}%"
    if unit == "FLOP/s":
        return f"{value / 1e9:,.0f} GFLOP/s"
    return f"{value:.1f} s" if unit == "s" else f"{value:,.0f} {unit}"


def load(rounds: Sequence[Sequence[float]]) -> str:
    return ", ".join(f"{before:.1f}/{after:.1f}" for before, after in rounds)
