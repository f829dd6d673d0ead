"""A table as JSON lines: one object for each row. Arrow does the work, not a loop over rows."""

import json

import pyarrow as pa
import pyarrow.compute as pc


def json_lines(batch: pa.RecordBatch) -> bytes:
    """Return the rows of a table, each as an object with a line end.

    Its columns hold texts, numbers, booleans and structs of them. A number that is not finite, or
    missing, is null. Text is escaped, so that no terminal obeys it.
    """
    lines = _objects(batch.schema.names, batch.columns)
    return b"".join(line.as_buffer().to_pybytes() + b"\n" for line in lines)


def _objects(names: list[str], columns: list[pa.Array]) -> pa.Array:
    parts: list[pa.Array | pa.Scalar] = []
    for number, (name, column) in enumerate(zip(names, columns, strict=True)):
        parts += [pa.scalar(f"{', ' if number else '{'}{_quoted(name)}: "), _values(column)]
    return pc.binary_join_element_wise(*parts, pa.scalar("}"), pa.scalar(""))


def _values(column: pa.Array) -> pa.Array:
    """Return each value as JSON."""
    if pa.types.is_struct(column.type):
        return _objects([field.name for field in column.type], column.flatten())
    if pa.types.is_string(column.type):
        encoded = column.dictionary_encode()
        quoted = [_quoted(text) for text in encoded.dictionary.to_pylist()]
        return pc.fill_null(pa.array(quoted, pa.string()).take(encoded.indices), "null")
    texts = pc.cast(column, pa.string())
    if pa.types.is_floating(column.type):
        texts = pc.if_else(pc.is_finite(column), texts, "null")
    return pc.fill_null(texts, "null")


def _quoted(text: str) -> str:
    return json.dumps(text).replace("\x7f", "\\u007f")  # JSON's own escapes leave out only DEL
