"""What the driver of work in parts is asked to do, and the files of its folder.

::

    <folder>/
        request.json        what to compute                       written by the client
        shards/00000.parquet  the rows of a shard to evaluate     the client
        part-00000.*        the result of a part                  the actor that computed it
        outcome.json        the end: rows, or the error           the driver
        seen-*              that the client has read the outcome  the client
        status.json         what Ray Jobs calls the driver        the client
        logs/               the driver's log

It does not depend on the number of workers, so that work goes on with any other number.
"""

import hashlib
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError

from workers.config import TrainJob
from workers.data.base import Config, NonNegativeInt, PositiveInt
from workers.data.kinds import DataShape
from workers.errors import InputError, RefusedFileError
from workers.storage.storage import LARGE_BYTES, Storage

REQUEST, OUTCOME, SHARDS = "request.json", "outcome.json", "shards"
PART_BLOCKS = 64
"""The blocks of a part: enough to be worth a file, and few enough to lose them."""


class Slice(NamedTuple):
    """Rows of one file that follow each other."""

    file: int
    """The number of the file in the request."""
    first: int
    num_rows: int


class InputFile(Config):
    """A Parquet file with rows to predict."""

    uri: str
    """What opens its file system."""
    path: str
    name: str
    shown: str
    size: NonNegativeInt
    modified_ns: int
    digest: str
    """Of its size, its time of change and its end: see `Tables.digest`."""
    num_rows: NonNegativeInt
    block_rows: PositiveInt


class _Request(Config):
    job: TrainJob
    """What was trained."""
    checkpoint: str | int | None = None
    weights_sha256: str
    """Of the model that is meant: while a run is trained, its best one may change."""
    pip: tuple[str, ...] = ()
    """The packages that a model of the user's own needs."""


class PredictRequest(_Request):
    """Predict the rows of files. A part is one or more slices of them."""

    kind: Literal["predict"] = "predict"
    files: tuple[InputFile, ...]
    id_column: str
    id_type: Literal["integer", "text"] | None
    """What identifies a row; None: its file and its number."""
    invert: bool = False
    """Whether bright becomes dark in images."""
    form: Literal["jsonl", "parquet"]
    output_folder: str
    """The URI of the folder in which the output will be."""
    output_name: str

    @property
    def num_rows(self) -> int:
        return sum(file.num_rows for file in self.files)

    def parts(self) -> list[list[Slice]]:
        """Return the slices of each part, in the order of the rows.

        They are a function of the files alone. A slice begins where a block of its file does. Small
        files share a part.
        """
        parts: list[list[Slice]] = []
        blocks = PART_BLOCKS
        for number, file in enumerate(self.files):
            for first in range(0, file.num_rows, file.block_rows):
                num_rows = min(file.block_rows, file.num_rows - first)
                if blocks == PART_BLOCKS:
                    parts.append([])
                    blocks = 0
                blocks += 1
                last = parts[-1][-1] if parts[-1] else None
                if last and last.file == number:
                    parts[-1][-1] = last._replace(num_rows=last.num_rows + num_rows)
                else:
                    parts[-1].append(Slice(number, first, num_rows))
        return parts

    def part_rows(self) -> list[int]:
        """Return the number of rows of each part."""
        return [sum(one.num_rows for one in part) for part in self.parts()]


class EvaluateRequest(_Request):
    """Evaluate the rows of a split. A part is a shard."""

    kind: Literal["evaluate"] = "evaluate"
    shape: DataShape
    """What the model reads, with the number of these rows as that of their split."""
    split: str

    def part_rows(self) -> list[int]:
        """Return the number of rows of each part."""
        num_rows, num_shards = self.shape.num_rows(self.split), self.shape.num_shards
        return [len(range(shard, num_rows, num_shards)) for shard in range(num_shards)]


Request = PredictRequest | EvaluateRequest
_ADAPTER: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="kind")])


def part_name(request: Request, part: int) -> str:
    """Return the name of the file with the result of a part."""
    ending = request.form if isinstance(request, PredictRequest) else "json"
    return f"part-{part:05d}.{ending}"


def missing_parts(folder: Storage, request: Request) -> list[int]:
    """Return the numbers of the parts that are not done. Raises StorageError."""
    names = set(folder.list())
    return [n for n in range(len(request.part_rows())) if part_name(request, n) not in names]


def shard_name(shard: int) -> str:
    return f"{SHARDS}/{shard:05d}.parquet"


def to_bytes(request: Request) -> bytes:
    return request.model_dump_json().encode()


def hash_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_request(folder: Storage, sha256: str) -> Request:
    """Return the request in a folder. Raises InputError if it is not the one with this hash.

    A folder on a storage may be written by others, and the request says which code is run.
    """
    try:
        content = folder.read(REQUEST, LARGE_BYTES)
        if hash_of(content) != sha256:
            raise ValueError("its hash is not the one that was sent")
        return _ADAPTER.validate_json(content)
    except (FileNotFoundError, RefusedFileError, ValueError, ValidationError) as error:
        raise InputError(
            f"{folder.where(REQUEST)} is not the request that was written: {str(error)[:200]}",
            "run the command again",
        ) from error
