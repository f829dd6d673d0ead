"""Which column of a table is what: named by the spec, or else the only one that can be it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from orchestrator.datasets.options import TableOptions
from orchestrator.datasets.tables.schema import described, listed, shown_type, type_of
from workers.data.columns import Family, family, form
from workers.errors import DataError

_SPLIT = "split"
"""The column that names splits, if the spec names none."""
_ID = "id"
"""The column that identifies rows, if the spec names none."""


@dataclass(frozen=True)
class Roles:
    """What each column that is read is for."""

    inputs: tuple[str, ...]
    items: Literal["numbers", "texts", "integers"]
    """What sequences consist of. Texts and integers are tokens."""
    target: str
    target_family: Family
    task: Literal["classification", "regression"]
    id: str | None
    group: str | None
    split: str | None
    notes: tuple[str, ...]
    """What was inferred, in sentences."""

    @property
    def is_tokens(self) -> bool:
        return self.items != "numbers"

    def columns(self, is_split: bool) -> list[str]:
        """Return the columns that are read of a table. `is_split`: its rows are to be split."""
        named = [*self.inputs, self.target, self.group]
        named += [self.id, self.split] if is_split else []
        return list(dict.fromkeys(name for name in named if name is not None))


def find_roles(schema: pa.Schema, options: TableOptions, as_tokens: bool) -> Roles:
    """Return the roles of the columns.

    Raises DataError if a named column does not exist or cannot be what it is named for, or if not
    exactly one can be it.
    """
    notes: list[str] = []
    keys = {"dataset.id": options.id, "dataset.group": options.group}
    for key, name in keys.items():
        if name is not None:
            _check_key(schema, name, key)
    split = _split(schema, options, notes)
    row_id = _id(schema, options, notes)
    others = [name for name in (row_id, options.group, split) if name is not None]
    inputs = options.inputs or (_the_input(schema, others, notes),)
    items = _items(schema, inputs, as_tokens, notes)
    target = options.target or _the_target(schema, [*inputs, *others], notes)
    found = family(type_of(schema, target, "--target"))
    _check_target(target, found, options.task, inputs, schema)
    task = options.task
    if task == "auto":
        task = "regression" if found == "float" else "classification"
        notes.append(f"the target '{target}' ({_type(schema, target)}) makes it a {task}")
    return Roles(inputs, items, target, found, task, row_id, options.group, split, tuple(notes))


def _check_key(schema: pa.Schema, name: str, key: str) -> None:
    kind = type_of(schema, name, key)
    if form(kind) or family(kind) not in ("text", "integer", "boolean"):
        raise DataError(
            f"column '{name}' is {shown_type(kind)}, and {key} must be texts or integers",
            "name another column, or write it as text",
        )


def _split(schema: pa.Schema, options: TableOptions, notes: list[str]) -> str | None:
    if options.split is not None:
        kind = type_of(schema, options.split, "dataset.split")
        if family(kind) != "text":
            raise DataError(
                f"column '{options.split}' is {shown_type(kind)}, and dataset.split must be texts",
                "write train, validation or test into it",
            )
        return options.split
    if _SPLIT not in schema.names or _SPLIT in (options.target, options.group, options.id):
        return None
    if family(type_of(schema, _SPLIT, "dataset.split")) != "text":
        notes.append("the column 'split' does not hold texts, and is not used to split the rows")
        return None
    notes.append("the column 'split' names the split of each row")
    return _SPLIT


def _id(schema: pa.Schema, options: TableOptions, notes: list[str]) -> str | None:
    taken = (options.target, options.split, options.group, *options.inputs)
    if options.id is not None or _ID not in schema.names or _ID in taken:
        return options.id
    _check_key(schema, _ID, "dataset.id")
    notes.append("the column 'id' identifies the rows")
    return _ID


def _the_input(schema: pa.Schema, taken: Iterable[str | None], notes: list[str]) -> str:
    lists = [field.name for field in schema if form(field.type) and field.name not in set(taken)]
    if len(lists) == 1:
        notes.append(f"the inputs are the column '{lists[0]}' ({_type(schema, lists[0])})")
        return str(lists[0])
    if not lists:
        raise DataError(
            f"no column holds lists of numbers or tokens: {listed(described(schema))}",
            "make a row of each sequence: rnnjob data import makes them of CSV files",
        )
    raise DataError(
        f"{len(lists)} columns hold lists: {listed(lists)}",
        f"name one: --inputs {lists[0]}; or several, each a feature: "
        f"--set 'dataset.inputs=[{', '.join(lists[:3])}]'",
    )


def _the_target(schema: pa.Schema, taken: Iterable[str], notes: list[str]) -> str:
    others = [field for field in schema if field.name not in set(taken)]
    can = [f.name for f in others if not form(f.type) and family(f.type) != "other"]
    if len(can) == 1:
        notes.append(f"the target is the column '{can[0]}' ({_type(schema, can[0])})")
        return str(can[0])
    if not can:
        raise DataError(
            f"no column can be the target: {listed(described(schema))}",
            "add a column with the class or the number to predict",
        )
    raise DataError(
        f"{len(can)} columns can be the target: {listed(can)}", f"name one: --target {can[0]}"
    )


def _items(
    schema: pa.Schema, inputs: Sequence[str], as_tokens: bool, notes: list[str]
) -> Literal["numbers", "texts", "integers"]:
    forms = []
    for name in inputs:
        kind = type_of(schema, name, "--inputs")
        if (found := form(kind)) is None:
            raise DataError(
                f"column '{name}' is {shown_type(kind)}, no list of numbers or tokens",
                "name columns with lists: --inputs",
            )
        forms.append(found)
    is_one_of_tokens = as_tokens and "integers" in forms
    if len(inputs) > 1 and ("texts" in forms or is_one_of_tokens):
        raise DataError(
            f"tokens come from one column, but dataset.inputs names {listed(inputs)}",
            "name one column: --inputs",
        )
    if "texts" in forms:
        return "texts"
    if is_one_of_tokens:
        return "integers"
    if as_tokens:
        raise DataError(
            f"column '{inputs[0]}' is {_type(schema, inputs[0])}, and model.embedding_size needs "
            "tokens: integers or texts",
            "--set model.embedding_size=0, or name a column of tokens: --inputs",
        )
    if "integers" in forms:
        notes.append("the integers are numbers; with model.embedding_size they are tokens")
    return "numbers"


def _check_target(
    target: str, found: Family, task: str, inputs: Sequence[str], schema: pa.Schema
) -> None:
    kind = _type(schema, target)
    if target in inputs:
        raise DataError(
            f"column '{target}' is both an input and the target", "name another: --target"
        )
    if form(schema.field(target).type) or found == "other":
        raise DataError(
            f"the target '{target}' is {kind}, no text, integer, boolean or number",
            "name another column: --target",
        )
    if found == "text" and task == "regression":
        raise DataError(
            f"the target '{target}' holds texts, which are no numbers",
            "name a column with numbers: --target, or --task classification",
        )


def _type(schema: pa.Schema, name: str) -> str:
    return shown_type(schema.field(name).type)
