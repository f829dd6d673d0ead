"""Open all inputs of a prediction: each file becomes a source of rows, in their order."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

import pyarrow as pa

from orchestrator.datasets.tables.files import find_tables
from orchestrator.datasets.tables.unlabelled import RowBlock, TableBlocks
from orchestrator.trained.predict.csv import CsvFlags, CsvSource
from orchestrator.trained.predict.found import FoundFile, find_inputs
from orchestrator.trained.predict.images import IdxSource, PictureSource
from orchestrator.trained.predict.sources import Notes, Source, TableSource
from orchestrator.trained.trained_run import TrainedRun
from workers.data.kinds import ImageInput
from workers.trained.prediction_columns import id_schema

USUAL_ID = "id"


@dataclass(frozen=True)
class InputFlags:
    """What the user says of the inputs."""

    invert: bool | None = None
    """Whether bright becomes dark in images; None: where the border says so."""
    csv: CsvFlags = field(default_factory=CsvFlags)


@dataclass(frozen=True)
class Inputs:
    """All rows to predict."""

    sources: Sequence[Source]
    notes: Notes

    @property
    def num_rows(self) -> int | None:
        """None if nobody knows without reading them."""
        numbers = [source.num_rows for source in self.sources]
        return None if None in numbers else sum(filter(None, numbers))

    @property
    def id_schema(self) -> pa.Schema:
        """The columns that identify a row."""
        return id_schema([source.id_type for source in self.sources])

    def ids_of(self, block: RowBlock) -> list[pa.Array]:
        """Return the columns of `id_schema` for some rows."""
        schema = self.id_schema
        if schema.names == ["id"]:
            assert block.ids is not None
            return [block.ids.cast(schema.field(0).type)]
        return [block.files, block.rows]


def open_inputs(trained: TrainedRun, names: Sequence[str], flags: InputFlags) -> Inputs:
    """Find the files, and look at what is in them. Raises InputError or DataError."""
    notes = Notes()
    sources: list[Source] = []
    found = find_inputs(names, trained.job.data)
    for kind, files in groupby(found, key=lambda file: file.kind):
        if kind == "picture":
            source = trained.job.data.input
            assert isinstance(source, ImageInput)
            paths = [file.path for file in files]
            sources.append(PictureSource(paths, source, flags.invert, notes))
        else:
            for file in files:
                sources += _sources(file, trained, flags, notes)
    return Inputs(sources, notes)


def _sources(
    file: FoundFile, trained: TrainedRun, flags: InputFlags, notes: Notes
) -> Sequence[Source]:
    shape = trained.job.data
    if file.kind == "table":
        invert = is_inverted(trained, flags.invert)
        tables = table_files(trained, file.path, invert)
        return [TableSource(table, invert, notes) for table in tables]
    if file.kind == "csv":
        return [CsvSource(file.path, shape, flags.csv, notes)]
    assert isinstance(shape.input, ImageInput)
    return [IdxSource(file.path, shape.input, flags.invert, notes)]


def is_inverted(trained: TrainedRun, invert: bool | None) -> bool:
    """Return whether tables hold images that are to be inverted, which nobody guesses for them."""
    return bool(invert) and isinstance(trained.job.data.input, ImageInput)


def table_files(trained: TrainedRun, uri: str, invert: bool) -> list[TableBlocks]:
    """Return the Parquet files that a path or URI names. Raises DataError."""
    tables = find_tables(uri)
    scheme, is_uri, _ = uri.partition("://")
    return [
        TableBlocks(
            tables,
            file,
            trained.job.data,
            id_column(trained),
            f"{scheme}://{file.path}" if is_uri else uri,
            invert,
        )
        for file in tables.files
    ]


def id_column(trained: TrainedRun) -> str:
    """Return the name of the column that identifies the rows of tables, if they have it."""
    options = trained.spec.dataset.table_options if trained.spec.dataset.is_table else None
    return (options.id if options else None) or USUAL_ID
