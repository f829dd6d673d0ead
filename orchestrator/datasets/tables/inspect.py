"""Look at a user's tables: what is in them, whether they can be trained on, and how."""

import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.datasets.cache import cache_errors, default_cache
from orchestrator.datasets.options import EMBEDDING_SIZE, TABLE_PREFIX, TableOptions
from orchestrator.datasets.tables.files import Tables
from orchestrator.datasets.tables.kinds import input_kind, target_kind
from orchestrator.datasets.tables.prepare import flags_of, tables_of
from orchestrator.datasets.tables.roles import Roles
from orchestrator.datasets.tables.scan import Scan
from orchestrator.datasets.tables.statistics import column_statistics
from workers.data.kinds import SPLITS, ClassTarget, NumberTarget, TokenInput, class_name
from workers.errors import JobError

_NUM_SHARDS = 8
"""The default of `dataset.num_shards`."""
_IMBALANCE = 20
Json = dict[str, Any]


def inspect_tables(uri: str, options: TableOptions, as_tokens: bool) -> Json:
    """Return what is in the tables of a URI as JSON.

    Args:
        options: how the rows would be read for training.
        as_tokens: whether lists of integers are tokens.

    Raises JobError only if nothing can be read. Why rows cannot be trained on is in the result.
    """
    tables = tables_of(uri, options)
    main = tables["train"]
    num_rows, columns = column_statistics(main)
    content: Json = {
        "schema_version": 1,
        "uri": uri,
        "files": len(main.files),
        "bytes": main.num_bytes,
        "rows": num_rows,
        "columns": [column.to_json() for column in columns],
        **_trained(tables, options, as_tokens),
    }
    roles: Mapping[str, str] = content.pop("roles")
    for column in content["columns"]:
        column["role"] = roles.get(column["name"])
    content["spec"] = _spec(uri, options, content)
    content["submit"] = _submit(uri, options, content)
    return content


def _trained(tables: dict[str, Tables], options: TableOptions, as_tokens: bool) -> Json:
    """Return what training would see of the rows, or why it would refuse them."""
    found: Json = {"roles": {}, "notes": [], "splits": {}, "classes": [], "problems": []}
    cache = default_cache()
    try:
        with cache_errors(cache):
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache, prefix=".inspect-") as scratch:
                _scan(Scan(tables, options, as_tokens, Path(scratch)), options, found)
    except JobError as error:
        found["problems"].append({"cause": error.cause, "cure": error.cure})
    return found


def _scan(scan: Scan, options: TableOptions, found: Json) -> None:
    """Add what a scan found. Raises JobError if the rows cannot be trained on."""
    found["roles"], found["notes"] = _roles(scan.roles), list(scan.notes)
    how = scan.rule.described()
    found["splits"] = {
        split: {"rows": scan.splits[split].spool.num_rows, "how": how.get(split)}
        for split in SPLITS
    }
    counts = scan.targets.classes
    classes = sorted({value for each in counts.values() for value in each})
    found["classes"] = [
        {"class": class_name(value), **{split: counts[split].get(value, 0) for split in SPLITS}}
        for value in classes
    ]
    target = target_kind(scan)
    kind = input_kind(scan, options)
    if isinstance(target, NumberTarget):
        found["target"] = {"mean": target.mean, "std": target.std}
    elif isinstance(target, ClassTarget) and max(target.train_counts) > _IMBALANCE * min(
        target.train_counts
    ):
        found["notes"].append(
            f"some classes have over {_IMBALANCE} times the rows of others; "
            "training.class_weights=balanced weighs them alike"
        )
    if isinstance(kind, TokenInput):
        found["vocabulary"] = len(kind.vocabulary)


def _roles(roles: Roles) -> dict[str, str]:
    named = {roles.split: "split", roles.group: "group", roles.id: "id", roles.target: "target"}
    named |= dict.fromkeys(roles.inputs, "inputs")
    return {column: role for column, role in named.items() if column is not None}


def _spec(uri: str, options: TableOptions, content: Json) -> Json:
    """Return the keys of a spec that trains on the tables, by dotted key."""
    roles: dict[str, list[str]] = {}
    for column in content["columns"]:
        roles.setdefault(column["role"], []).append(column["name"])
    target = options.target or next(iter(roles.get("target", ())), None)
    given = {key: getattr(options, key) for key in options.model_fields_set}
    values = {**given, "inputs": list(options.inputs or roles.get("inputs", ())), "target": target}
    named = {f"dataset.{key}": value for key, value in values.items() if value}
    return {"dataset.name": TABLE_PREFIX + uri, **named, **_needed(content)}


def _needed(content: Json) -> Json:
    """Return the values other than the defaults without which the rows cannot be trained on."""
    rows = {split: each["rows"] for split, each in content["splits"].items()}
    needed: Json = {}
    if "vocabulary" in content:
        needed["model.embedding_size"] = EMBEDDING_SIZE
    if 0 < rows.get("train", 0) < _NUM_SHARDS:
        needed["dataset.num_shards"] = 1
    if rows and not rows["validation"]:
        needed["training.keep"] = "last"
    return needed


def _submit(uri: str, options: TableOptions, content: Json) -> str:
    """Return the command that trains on the tables."""
    if options.target is None and (target := content["spec"].get("dataset.target")):
        options = options.model_copy(update={"target": target})
    words = ["rnnjob", "submit", "--local", "--dataset", TABLE_PREFIX + uri, *flags_of(options)]
    for key, value in _needed(content).items():
        words += ["--set", f"{key}={value}"]
    return shlex.join(words)
