"""What differs between runs, and the repeats of a run, in lines and tables of 80 columns."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from string import ascii_uppercase
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from orchestrator.runs.metrics import METRICS, metric_name, show_metric
from orchestrator.runs.side_by_side.columns import SECTIONS, Column, Member
from orchestrator.runs.side_by_side.differences import (
    DIFFERENT,
    SAME,
    Difference,
    SideBySide,
)
from orchestrator.runs.side_by_side.noise import LEVEL, Noise
from orchestrator.units import show_duration

WIDTH = 80
_AT_ONCE = 3
"""How many columns a table shows beside the first one."""
_HASHES = ("sha256", "fingerprint", "digest", "commit")
_NONE = "-"


def compared(found: SideBySide) -> Iterator[RenderableType]:
    """Yield what to print of a comparison, from top to bottom."""
    legend = Table(show_header=False, box=None, pad_edge=False)
    for letter, column in zip(ascii_uppercase, found.columns, strict=False):
        repeats = f" ({len(column.members)} seeds)" if column.is_group else ""
        legend.add_row(letter, column.name + repeats)
    yield legend
    yield ""
    yield _about_weights(found)
    for section in ("spec", *SECTIONS, "outcome"):
        if rows := found.of(section):
            yield ""
            yield from _tables(section, rows, len(found.columns))
    if not any(found.of(section) for section in ("spec", *SECTIONS)):
        yield "\nneither spec, data, code, packages nor hardware differ"
    if found.without_provenance:
        names = ", ".join(found.without_provenance)
        yield f"\nwhere {names} came from is unknown: there is no provenance.json"
    yield from _about_noise(found)


def _about_weights(found: SideBySide) -> str:
    if found.weights == SAME:
        weights = found.columns[0].members[0].weights or ""
        several = found.columns[0].is_group
        return "weights: the same, " + ("seed by seed" if several else weights[:16])
    if found.weights != DIFFERENT:
        letters = [
            letter
            for letter, column in zip(ascii_uppercase, found.columns, strict=False)
            if not all(member.weights for member in column.members)
        ]
        return f"weights: unknown, since {', '.join(letters)} ended without any"
    keyed = [
        ([member.weights or "" for member in column.members], letter)
        for letter, column in zip(ascii_uppercase, found.columns, strict=False)
    ]
    groups = [
        " = ".join(letter for _, letter in same)
        for _, same in groupby(sorted(keyed), key=lambda pair: pair[0])
    ]
    return "weights: different" + (f" ({', '.join(sorted(groups))})" if len(keyed) > 2 else "")


def _tables(section: str, rows: Sequence[Difference], num_columns: int) -> Iterator[Table]:
    """Yield tables of a few columns each. The first column is in all of them."""
    for start in range(1, num_columns, _AT_ONCE):
        shown = [0, *range(start, min(start + _AT_ONCE, num_columns))]
        table = Table(box=None, pad_edge=False, show_edge=False)
        table.add_column(section, overflow="fold", max_width=WIDTH - 13 * len(shown))
        for number in shown:
            table.add_column(ascii_uppercase[number], overflow="fold", ratio=1)
        for row in rows:
            cells = _cells(row)
            table.add_row(_name(row), *(cells[number] for number in shown))
        yield table


def _name(row: Difference) -> str:
    if row.section != "outcome":
        return row.key
    names = {"wall_s": "time", "samples_per_s": "samples/s", "attempts": "starts"}
    split, _, metric = row.key.partition("_")
    is_metric = split in ("test", "validation")
    return f"{split} {metric_name(metric)}" if is_metric else names.get(row.key, row.key)


def _cells(row: Difference) -> list[str]:
    if row.section == "outcome":
        spreads = row.spreads or (None,) * len(row.values)
        return [
            outcome_text(row.key, value) + (f" ± {outcome_text(row.key, spread)}" if spread else "")
            for value, spread in zip(row.values, spreads, strict=True)
        ]
    lists = [value for value in row.values if isinstance(value, list | tuple)]
    common = set.intersection(*(set(map(str, each)) for each in lists)) if lists else set()
    return [_fact_text(row.key, value, common) for value in row.values]


def _fact_text(key: str, value: Any, common: set[str]) -> str:
    """Return a value as text. Of a list, what all columns have is left out."""
    if isinstance(value, list | tuple):
        own = [str(each) for each in value if str(each) not in common]
        return ", ".join(own[:12]) or ("(no more)" if common else "none")
    if key.endswith(_HASHES):
        return str(value)[:12] if value else _NONE
    return _NONE if value is None else str(value)


def outcome_text(key: str, value: Any) -> str:
    """Return a value of a result as text."""
    metric = key.partition("_")[2]
    if value is None:
        return _NONE
    if metric in METRICS:
        return show_metric(metric, value)
    if key == "wall_s":
        return show_duration(value) if value >= 10 else f"{value:.1f}s"
    if key == "samples_per_s":
        return f"{value:,.0f}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _about_noise(found: SideBySide) -> Iterator[RenderableType]:
    if any(found.noise.values()):
        for number, metrics in found.noise.items():
            if metrics:
                yield ""
                yield _noise_table(f"{ascii_uppercase[number]} minus A", metrics)
        fewest = min(len(noise.differences) for each in found.noise.values() for noise in each)
        yield (
            f"\nPaired by seed. The verdict is that of a paired t-test at the level {LEVEL}. The\n"
            "sign-flip test is exact and assumes no normal distribution; with "
            f"{fewest} pairs its\np-value is at least {2 ** (1 - fewest):.2g}."
        )
    elif found.weights == DIFFERENT and found.of("spec"):
        yield (
            "\nOne run each cannot say whether that is more than noise. Compare repeats:\n"
            "rnnjob submit --seeds 5 ..."
        )


def _noise_table(title: str, metrics: Sequence[Noise]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in (title, "difference", "t-test p", "sign-flip p", ""):
        table.add_column(name)
    for noise in metrics:
        metric = noise.metric.partition("_")[2]
        scale, unit = (100, " points") if metric == "accuracy" else (1, "")
        table.add_row(
            f"test {metric_name(metric)}",
            f"{scale * noise.mean:+.4g} ± {scale * noise.spread:.3g}{unit}",
            _p(noise.t_test_p),
            _p(noise.sign_flip_p),
            "more than noise" if noise.is_real else "within the noise",
        )
    return table


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else "<0.0001"


def repeats_table(column: Column) -> Table:
    """Return the repeats of a run with their outcome, and below them mean and spread."""
    keys = ["test_accuracy", "test_mae", "test_loss", "wall_s"]
    shown = [key for key in keys if column.outcomes(key)]
    table = Table(box=None, pad_edge=False)
    table.add_column("RUN", overflow="fold")
    table.add_column("SEED", justify="right")
    for key in shown:
        table.add_column(_name(Difference("outcome", key, ())).upper(), justify="right")
    for member in column.members:
        table.add_row(_run_text(member), str(member.seed), *_outcomes(member, shown))
    for name, text in (
        ("mean", [outcome_text(key, column.outcome(key)) for key in shown]),
        ("standard deviation", [outcome_text(key, column.spread(key)) for key in shown]),
    ):
        table.add_row(name, "", *text, style="bold")
    return table


def _outcomes(member: Member, keys: Sequence[str]) -> list[str]:
    return [outcome_text(key, member.result.get(key)) for key in keys]


def _run_text(member: Member) -> str:
    is_good = member.state == "SUCCEEDED"
    return member.run_id if is_good else f"{member.run_id} ({member.state})"
