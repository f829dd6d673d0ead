"""The command `rnnjob data inspect`."""

import sys
from typing import Any

import click

from orchestrator.cli.data.table_flags import table_options, table_options_from
from orchestrator.cli.errors import explained
from orchestrator.cli.options.example import example
from orchestrator.cli.options.run import json_option
from orchestrator.cli.output import Styled, echo, one_line, print_json
from workers.errors import DataError

_WIDTH = 80
_BAR = 40
_MOST_LINES = 20
"""The most classes and columns that are printed. JSON has all."""


@click.command("inspect", epilog=example("rnnjob data inspect rows.parquet"))
@click.argument("uri", metavar="URI")
@table_options
@json_option
@explained
def inspect_command(
    uri: str, tokens: bool, assignments: tuple[str, ...], as_json: bool, **flags: str | None
) -> None:
    """Show what is in Parquet files, and whether they can be trained on.

    URI: a file, a folder, or files that match a pattern, on this machine or any storage.

    The exit code is 2 if they cannot be trained on as they are.
    """
    from orchestrator.datasets.options import TABLE_PREFIX
    from orchestrator.datasets.tables.inspect import inspect_tables

    options = table_options_from(assignments, flags)
    content = inspect_tables(uri.removeprefix(TABLE_PREFIX), options, tokens)
    if as_json:
        print_json(content)
    else:
        _show(content)
    if content["problems"]:
        sys.exit(DataError.exit_code)


def _show(content: dict[str, Any]) -> None:
    from orchestrator.units import show_bytes

    files = "1 file" if content["files"] == 1 else f"{content['files']:,} files"
    echo(f"{content['uri']}: {content['rows']:,} rows in {files}, {show_bytes(content['bytes'])}")
    _show_columns(content["columns"])
    for column in content["columns"]:
        if column["role"] == "inputs" and column.get("lengths"):
            _show_lengths(column)
            break
    _show_splits(content["splits"])
    _show_classes(content["classes"])
    if "target" in content:
        echo(f"\ntarget: mean {content['target']['mean']:g}, std {content['target']['std']:g}")
    if "vocabulary" in content:
        echo(f"\nvocabulary: {content['vocabulary']:,} tokens")
    echo()
    for note in content["notes"]:
        echo(note)
    for problem in content["problems"]:
        echo(Styled("problem: ", "red"), problem["cause"])
        echo(f"  try: {problem['cure']}")
    echo("to train, when that is solved:" if content["problems"] else "to train:")
    echo(f"  {content['submit']}")


def _show_columns(columns: list[dict[str, Any]]) -> None:
    shown = columns[:_MOST_LINES]
    names = [_cut(column["name"], 24) for column in shown]
    types = [_cut(column["type"], 30) for column in shown]
    name_width, type_width = max(map(len, names), default=0), max(map(len, types), default=0)
    echo()
    for column, name, kind in zip(shown, names, types, strict=True):
        facts = f"{column['role'] or '':7} {_facts(column)}"
        echo(f"{name:{name_width}}  {kind:{type_width}}  {facts}".rstrip()[:_WIDTH])
    if len(columns) > len(shown):
        echo(f"and {len(columns) - len(shown):,} more columns")


def _facts(column: dict[str, Any]) -> str:
    parts = []
    if lengths := column.get("lengths"):
        parts.append(f"{lengths['min']:,} to {lengths['max']:,} steps")
    if column.get("distinct") is not None:
        parts.append(f"{column['distinct']:,} values")
    if column["nulls"]:
        parts.append(f"{column['nulls']:,} null")
    if column.get("missing"):
        parts.append(f"{column['missing']:,} missing")
    return ", ".join(parts)


def _show_lengths(column: dict[str, Any]) -> None:
    lengths = column["lengths"]
    echo(f"\ntime steps of {_cut(column['name'], 40)}, {lengths['mean']:.1f} on average")
    most = max(each["rows"] for each in lengths["histogram"])
    digits = len(f"{lengths['max']:,}")
    is_wide = any(each["to"] > each["from"] for each in lengths["histogram"])
    for each in lengths["histogram"]:
        span = f"{each['from']:{digits},}"
        if is_wide:
            end = f" to {each['to']:{digits},}" if each["to"] > each["from"] else ""
            span += f"{end:{digits + 4}}"
        bar = "#" * -(-each["rows"] * _BAR // most)
        echo(f"  {span}  {bar:{_BAR}}  {each['rows']:,}")


def _show_splits(splits: dict[str, Any]) -> None:
    if splits:
        echo()
    for split, each in splits.items():
        how = _cut(each["how"] or "none", _WIDTH - 30)
        echo(f"{split:10}  {each['rows']:>11,} rows  {how}")


def _show_classes(classes: list[dict[str, Any]]) -> None:
    if not classes:
        return
    echo(f"\n{'class':32} {'train':>12} {'validation':>12} {'test':>12}")
    for each in classes[:_MOST_LINES]:
        counts = " ".join(f"{each[split]:>12,}" for split in ("train", "validation", "test"))
        echo(f"{_cut(each['class'], 32):32} {counts}")
    if len(classes) > _MOST_LINES:
        echo(f"and {len(classes) - _MOST_LINES:,} more classes")


def _cut(text: str, width: int) -> str:
    text = one_line(text)
    return text if len(text) <= width else f"{text[: width - 3]}..."
