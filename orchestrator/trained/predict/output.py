"""Where predictions go: a file that appears whole, in Parquet or in JSON lines."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pyarrow as pa

from workers.errors import InputError, StorageError
from workers.storage.storage import Storage
from workers.storage.whole_file import file_at, written_whole
from workers.trained.prediction_file import Form, prediction_file

FORMS: dict[str, Form] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
CURE = "check that its folder can be written and has room, or name another file: --output"


@dataclass(frozen=True)
class Output:
    """A file to write."""

    folder: Storage
    name: str
    form: Form

    @property
    def where(self) -> str:
        return self.folder.where(self.name)


def open_output(output: str, force: bool) -> Output:
    """Return the file that --output names. Nothing is written yet.

    Raises InputError if it exists and `force` is false, or if its name says no form.
    """
    try:
        folder, name = file_at(output, "--output", ".jsonl")
        form = next((form for end, form in FORMS.items() if name.lower().endswith(end)), None)
        if form is None:
            raise InputError(
                f"--output is '{output}', which does not say the form of the file",
                f"end its name in {', '.join(FORMS)}",
            )
        if folder.exists(name) and not force:
            cure = "replace it: --force, or name another file: --output"
            raise InputError(f"{folder.where(name)} exists", cure)
        return Output(folder, name, form)
    except StorageError as error:
        raise StorageError(error.cause, CURE) from error


def write_output(
    output: Output,
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    advance: Callable[[int], None],
) -> int:
    """Write all rows, and return their number. After an error, nothing is left of the file.

    `advance`: told the number of rows of each batch that was written.

    Raises StorageError, and what reading the batches raises.
    """
    num_rows = 0
    with (
        written_whole(output.folder, output.name, CURE) as path,
        prediction_file(path, output.form, schema) as file,
    ):
        for batch in batches:
            file.write(batch)
            num_rows += batch.num_rows
            advance(batch.num_rows)
    return num_rows
