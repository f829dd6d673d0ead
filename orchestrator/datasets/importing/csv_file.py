"""Read CSV files with the same header in blocks, as batches of typed columns.

A cell that is empty, or holds NA, NaN, null or the like, is null; text is null only if it is empty.
Rows are counted as in a spreadsheet: the header is row 1.
"""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from orchestrator.datasets.importing.sequences import check_is_file
from workers.errors import DataError

FIRST_ROW = 2
_BLOCK_BYTES = 2**24
"""The bytes that are read at once. No row may be longer."""
_BAD_CELL = re.compile(
    r"In CSV column #(\d+): Row #(\d+): CSV conversion error to ([^:]+): (.*)", re.DOTALL
)
_BAD_ROW = re.compile(r"CSV parse error: Row #(\d+): Expected (\d+) columns, got (\d+)")
_WIDER = {pa.bool_(): pa.string(), pa.int64(): pa.float64(), pa.float64(): pa.string()}
"""What a column is read as if a cell does not fit its type."""

_KINDS = {"int": "a whole number", "double": "a number", "timestamp": "a time like the first one"}
"""What a cell should have been, by pyarrow's names of types."""


class CellError(DataError):
    """A cell does not have the type of its column."""

    def __init__(self, cause: str, column: str, row: int) -> None:
        cure = f"correct the cell; or, if the column is no input: --keep {column}"
        super().__init__(cause, f"{cure}; or, if the inputs are tokens: --tokens")
        self.column, self.row = column, row


@dataclass(frozen=True)
class Block:
    """Some rows of one file."""

    path: Path
    first_row: int
    """The number of the first row in its file."""
    table: pa.RecordBatch


class CsvFiles:
    """One or more files whose headers are the same."""

    def __init__(self, paths: Iterable[Path], delimiter: str | None = None) -> None:
        """Read the headers. Raises DataError."""
        self.paths = tuple(paths)
        self._delimiter = delimiter
        self.first_types: dict[str, pa.DataType] = {}
        """What the first rows look like, by column."""
        for path in self.paths:
            check_is_file(path)
            self._check_header(path)
        self.columns = tuple(self.first_types)

    def _check_header(self, path: Path) -> None:
        with _explained(path, ()), self._open(path, {}) as reader:
            names, types = reader.schema.names, reader.schema.types
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise DataError(f"{path} has two columns '{twice}'", "rename one of them in its header")
        if self.first_types and list(self.first_types) != names:
            raise DataError(
                f"the header of {path} is not that of {self.paths[0]}",
                "give files with equal headers, or import each into a file of its own",
            )
        self.first_types = self.first_types or dict(zip(names, types, strict=True))

    def read(self, types: Mapping[str, pa.DataType]) -> Iterator[Block]:
        """Yield the rows of all files with these columns.

        Raises CellError if a cell does not have the type of its column, else DataError.
        """
        for path in self.paths:
            first_row = FIRST_ROW
            with _explained(path, self.columns), self._open(path, types) as reader:
                for batch in reader:
                    yield Block(path, first_row, _without_empty_text(batch))
                    first_row += batch.num_rows

    def widened(self, types: Mapping[str, pa.DataType]) -> dict[str, pa.DataType]:
        """Return the types with which all cells of these columns can be read.

        A column of booleans or numbers becomes one of text if a cell is text. Raises DataError.
        """
        found = dict(types)
        while found:
            try:
                for _ in self.read(found):
                    pass
                break
            except CellError as error:
                found[error.column] = _WIDER[found[error.column]]
        return found

    def first_bad_row(self, column: str, kind: pa.DataType) -> int | None:
        """Return the number of the first row in which a column is not of this type, if any."""
        try:
            for _ in self.read({column: kind}):
                pass
        except CellError as error:
            return error.row
        return None

    def _open(
        self, path: Path, types: Mapping[str, pa.DataType]
    ) -> "pyarrow.csv.CSVStreamingReader":
        suffixes = {suffix.lower() for suffix in path.suffixes}
        delimiter = self._delimiter or ("\t" if ".tsv" in suffixes else ",")
        # One thread: several would count no rows, and errors could not name them.
        return pyarrow.csv.open_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict(types), include_columns=list(types)
            ),
        )


def _without_empty_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch with null instead of empty text."""
    for place, column in enumerate(batch.columns):
        if pa.types.is_string(column.type):
            kept = pc.if_else(pc.equal(column, ""), None, column)
            batch = batch.set_column(place, batch.schema.names[place], kept)
    return batch


@contextlib.contextmanager
def _explained(path: Path, columns: tuple[str, ...]) -> Iterator[None]:
    """Raise errors of reading a file with these columns as DataError."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise DataError(f"the header of {path} is no UTF-8", "save the file as UTF-8") from error
    except pa.ArrowException as error:
        raise _explain(path, columns, str(error)) from error
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error).splitlines()[0][:200]
        raise DataError(
            f"cannot read {path}: {reason}", "name a CSV file that can be read"
        ) from error


def _explain(path: Path, columns: tuple[str, ...], message: str) -> DataError:
    if cell := _BAD_CELL.match(message):
        column, value = columns[int(cell[1])], cell[4].removeprefix("invalid value ")[:100]
        where = f"{path}, row {cell[2]}"
        if "UTF8" in value:
            return DataError(f"{where}, column '{column}', is no UTF-8", "save the file as UTF-8")
        kind = next((word for name, word in _KINDS.items() if cell[3].startswith(name)), cell[3])
        return CellError(f"{where}, column '{column}': {value} is not {kind}", column, int(cell[2]))
    if row := _BAD_ROW.match(message):
        return DataError(
            f"{path}, row {row[1]}, has {row[3]} cells, but the header {row[2]}",
            "correct the row, or name what separates cells: --delimiter",
        )
    if "Empty CSV file" in message:
        return DataError(f"{path} is empty", "name a CSV file whose first row names the columns")
    if "straddl" in message:
        return DataError(
            f"{path} has a row of more than {_BLOCK_BYTES:,} bytes",
            "look for a quotation mark that is not closed",
        )
    return DataError(f"cannot read {path}: {message.splitlines()[0][:200]}", "correct the file")
