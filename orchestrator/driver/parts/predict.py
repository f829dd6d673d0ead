"""Parts of a prediction: some rows of files become a file of predictions."""

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.datasets.tables.files import TableFile, Tables
from orchestrator.datasets.tables.unlabelled import BlockReader, RowBlock, TableBlocks
from orchestrator.driver.parts.request import PredictRequest, Slice, part_name
from workers.errors import RowAccountError
from workers.storage.storage import Storage, open_file_system, storage_errors
from workers.storage.whole_file import written_whole
from workers.trained.prediction_columns import id_schema, prediction_schema
from workers.trained.prediction_file import prediction_file

if TYPE_CHECKING:
    from workers.trained.load import TrainedModel

_CURE = "check that its folder can be written and has room, then run the same command again"
_ID_TYPES = {"integer": pa.int64(), "text": pa.string()}
_COPY_BYTES = 2**22


class PredictParts:
    """Computes parts, in ascending order as far as possible: a file is then read once."""

    def __init__(self, request: PredictRequest, folder: Storage, model: "TrainedModel") -> None:
        from workers.trained.predict import Predictor

        self._request, self._folder = request, folder
        self._parts = request.parts()
        self._predictor = Predictor(model)
        self._reader: tuple[int, BlockReader] | None = None

    def compute(self, part: int) -> None:
        """Write the predictions of a part. Raises JobError."""
        schema = prediction_columns(self._request)
        name = part_name(self._request, part)
        with (
            written_whole(self._folder, name, _CURE) as path,
            prediction_file(path, self._request.form, schema) as file,
        ):
            for block in self._blocks(self._parts[part]):
                predicted = self._predictor.predict(block.inputs)
                columns = [*self._ids(block), *predicted.columns]
                file.write(pa.RecordBatch.from_arrays(columns, schema=schema))

    def _ids(self, block: RowBlock) -> list[pa.Array]:
        kind = self._request.id_type
        if kind is None:
            return [block.files, block.rows]
        assert block.ids is not None
        return [block.ids.cast(_ID_TYPES[kind])]

    def _blocks(self, slices: list[Slice]) -> Iterator[RowBlock]:
        for wanted in slices:
            reader = self._reader_at(wanted)
            reader.skip_to(wanted.first)
            while reader.at < wanted.first + wanted.num_rows:
                block = reader.read()
                if block is None:
                    raise RowAccountError(
                        f"{self._request.files[wanted.file].shown} has fewer rows than before",
                        "put it back as it was, or run the command with --force",
                    )
                yield block

    def _reader_at(self, wanted: Slice) -> BlockReader:
        """Return what reads a file, the same as before if it has not gone too far."""
        if self._reader:
            number, reader = self._reader
            if number == wanted.file and reader.at <= wanted.first:
                return reader
        file = self._request.files[wanted.file]
        reader = BlockReader(self._opened(wanted.file), file.block_rows, wanted.first)
        self._reader = wanted.file, reader
        return reader

    def _opened(self, number: int) -> TableBlocks:
        file = self._request.files[number]
        table = TableFile(file.path, file.name, file.size, file.modified_ns)
        tables = Tables(file.uri, [table], open_file_system(file.uri)[0])
        request = self._request
        return TableBlocks(
            tables, table, request.job.data, request.id_column, file.shown, request.invert
        )


def prediction_columns(request: PredictRequest) -> pa.Schema:
    """Return the columns of predictions, with those that identify a row."""
    ids = id_schema([_ID_TYPES[request.id_type] if request.id_type else None])
    return pa.schema([*ids, *prediction_schema(request.job.data.target)])


def put_together(request: PredictRequest, folder: Storage) -> None:
    """Write the output: the rows of all parts, in their order. Raises JobError."""
    output = Storage(request.output_folder).with_retries()
    names = [part_name(request, part) for part in range(len(request.part_rows()))]
    with written_whole(output, request.output_name, _CURE) as path:
        if request.form == "jsonl":
            with open(path, "wb") as file:
                for name in names:
                    with _opened(folder, name) as part:
                        shutil.copyfileobj(part, file, _COPY_BYTES)
            return
        num_rows = 0
        with pq.ParquetWriter(path, prediction_columns(request), compression="zstd") as writer:
            for name in names:
                with _opened(folder, name) as part:
                    num_rows += _copy_rows(pq.ParquetFile(part), writer)
        if num_rows != request.num_rows:
            raise RowAccountError(
                f"{num_rows:,} rows were predicted, but there are {request.num_rows:,}",
                "run the command again with --force",
            )


def _copy_rows(part: pq.ParquetFile, writer: pq.ParquetWriter) -> int:
    for group in range(part.metadata.num_row_groups):
        writer.write_table(part.read_row_group(group))
    return int(part.metadata.num_rows)


def _opened(folder: Storage, name: str) -> pa.NativeFile:
    file_system, path = folder.filesystem_and_path
    with storage_errors("open", folder.where(name)):
        return file_system.open_input_file(f"{path}/{name}")
