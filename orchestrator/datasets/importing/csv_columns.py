"""Which column of a CSV file is what: as named by the user, or as the names in the header say."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from orchestrator.datasets.importing.csv_file import CsvFiles
from orchestrator.datasets.importing.sequences import ID, INPUTS, SPLIT, TARGET
from workers.errors import DataError

TIME = "time"


@dataclass(frozen=True)
class CsvOptions:
    """What the user says of the columns. None: a column with the usual name, if there is one."""

    id: str | None = None
    time: str | None = None
    target: str | None = None
    inputs: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    """Columns that are written as they are."""
    tokens: bool = False
    """Whether the inputs are tokens: text, and not numbers."""
    ragged: bool = False
    """Whether the empty cells at the end of a row are not part of its sequence."""
    delimiter: str | None = None


@dataclass
class Columns:
    """The columns of a file by what they are."""

    id: str | None
    time: str | None
    target: str | None
    keep: tuple[str, ...]
    inputs: tuple[str, ...] = ()

    @property
    def kept(self) -> dict[str, str]:
        """The written columns that are copied: their names in the CSV file by their new names."""
        named = {TARGET: self.target} if self.target else {}
        return named | {name: name for name in self.keep}


def choose_columns(files: CsvFiles, options: CsvOptions, with_time: bool) -> Columns:
    """Return the columns that were named, and the usual ones. Raises DataError."""
    _check_exist(files, options)
    id_column = _named_or_usual(files, options.id, ID)
    time = _named_or_usual(files, options.time, TIME) if with_time else None
    target = _named_or_usual(files, options.target, TARGET)
    keep = options.keep
    if SPLIT in files.columns and SPLIT not in (*keep, id_column, time, target, *options.inputs):
        keep += (SPLIT,)
    reserved = {INPUTS, ID} | ({TARGET} if target else set())
    if clash := reserved & set(keep):
        raise DataError(
            f"the column '{min(clash)}' cannot be kept: another one gets its name",
            "rename it in the header",
        )
    columns = Columns(id_column, time, target, keep)
    columns.inputs = _inputs(files, options, columns)
    _check_used_once(columns)
    return columns


def _check_used_once(columns: Columns) -> None:
    roles = [columns.id, columns.time, columns.target, *columns.keep, *columns.inputs]
    for name in roles:
        if name is not None and roles.count(name) > 1:
            raise DataError(
                f"the column '{name}' is named for two purposes", "name it for one of them"
            )


def _check_exist(files: CsvFiles, options: CsvOptions) -> None:
    flags: dict[str, Iterable[str | None]] = {
        "--id": [options.id], "--time": [options.time], "--target": [options.target],
        "--inputs": options.inputs, "--keep": options.keep,
    }  # fmt: skip
    for flag, names in flags.items():
        for name in names:
            if name is not None and name not in files.columns:
                near = difflib.get_close_matches(name, files.columns, 1)
                hint = f"did you mean '{near[0]}'? " if near else ""
                raise DataError(
                    f"{flag}: {files.paths[0]} has no column '{name}'",
                    f"{hint}{_listed(files)}",
                )


def _listed(files: CsvFiles) -> str:
    if len(files.columns) == 1:
        return f"Its only column is '{files.columns[0]}'. What separates cells is --delimiter"
    return f"Its columns are {shortened(files.columns)}"


def _named_or_usual(files: CsvFiles, named: str | None, usual: str) -> str | None:
    return usual if named is None and usual in files.columns else named


def _inputs(files: CsvFiles, options: CsvOptions, columns: Columns) -> tuple[str, ...]:
    others = (columns.id, columns.time, columns.target, *columns.keep)
    if options.inputs:
        return options.inputs
    rest = tuple(name for name in files.columns if name not in others)
    if options.prefixes:
        rest = tuple(name for name in rest if name.startswith(options.prefixes))
    if not rest:
        raise DataError(
            f"{files.paths[0]} has no column for the inputs",
            f"name them: --inputs. {_listed(files)}",
        )
    return rest


def types_of(files: CsvFiles, columns: Columns, options: CsvOptions) -> dict[str, pa.DataType]:
    """Return the types with which to read the columns. Reads those that are kept. Raises DataError.

    Inputs are float64, so that no number changes, or text; an id is text, so that 007 stays 007.
    """
    kept = {name: _readable(files.first_types[name]) for name in columns.kept.values()}
    types = files.widened(kept)
    types |= dict.fromkeys(columns.inputs, pa.string() if options.tokens else pa.float64())
    return types | ({columns.id: pa.string()} if columns.id else {})


def _readable(kind: pa.DataType) -> pa.DataType:
    """Return the type for a column whose first cells look like this."""
    return kind if kind in (pa.bool_(), pa.int64(), pa.float64()) else pa.string()


def shortened(names: Iterable[str]) -> str:
    """Return names in a list for a message."""
    names = list(names)
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return ", ".join(names[:12]) + more
