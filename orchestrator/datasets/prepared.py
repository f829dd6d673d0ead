"""A data set cut into shards: open it, check it, read it, publish it."""

from dataclasses import dataclass, field

import pyarrow as pa

from orchestrator.datasets.manifest import MANIFEST, Entries, Origin, check_entries
from workers.data.kinds import SPLITS, DataShape
from workers.errors import DataError, InputError, RefusedFileError
from workers.shards.shard_file import ShardSize, check_shape, num_bytes, shard_name
from workers.shards.shard_files import ShardFiles
from workers.storage.storage import LARGE_BYTES, Storage
from workers.storage.typed_json import parse_object

_PUBLISHED = ".data"
"""The folder in a storage that published data sets are copied to."""


@dataclass(frozen=True)
class PreparedData:
    """A data set that is cut into shards, in a folder on any storage."""

    folder: Storage
    shape: DataShape
    shards: Entries
    recut_command: str
    """The command that cuts the data set again, for error messages."""
    origin: Origin = field(default_factory=Origin)

    def shard(self, shard: int) -> ShardFiles:
        """Return the files of a shard. Nothing of them is read."""
        entries = {split: self.shards[split][shard] for split in SPLITS}
        return ShardFiles(self.folder, self.shape, entries, self.recut_command)

    def table(self, split: str, shard: int) -> pa.Table:
        """Return the rows of a shard. Raises DataError if the file is missing or was changed."""
        return self.shard(shard).table(split)

    def verify(self) -> None:
        """Check the bytes of every shard.

        Raises DataError if one is missing, was changed, or does not have the form that the manifest
        says.
        """
        for shard in range(self.shape.num_shards):
            self.shard(shard).verify()

    def num_bytes(self, split: str) -> int:
        """Return how much memory the rows of a split take."""
        sizes = (ShardSize(entry["rows"], entry.get("steps", 0)) for entry in self.shards[split])
        return sum(num_bytes(self.shape, size) for size in sizes)

    def publish(self, storage: Storage) -> str:
        """Copy the shards to `<storage>/.data`, for machines that cannot read this folder.

        Nothing is copied if a complete copy exists. Returns the URI of the copy. Raises
        StorageError, or DataError if a shard is missing or was changed.
        """
        name = self.folder.name
        target = storage.child(_PUBLISHED).child(name).confined()
        if not target.exists(MANIFEST):
            for split in SPLITS:
                for shard in range(self.shape.num_shards):
                    name = shard_name(split, shard, self.shape.num_shards)
                    target.write(name, self.shard(shard).content(split))
            # Last: it marks the copy as complete.
            target.write(MANIFEST, self.folder.read(MANIFEST, LARGE_BYTES))
        return target.uri


def open_prepared(
    folder: Storage, standardize: bool = True, test_head_rows: int = 0, recut_command: str = ""
) -> PreparedData:
    """Open a folder of shards. Only its manifest is read.

    Args:
        standardize: whether the shape holds the means and standard deviations of the inputs.
        test_head_rows: see `DataShape`.
        recut_command: the command that cuts the data set again.

    Raises:
        DataError: the manifest is missing or damaged.
        InputError: `test_head_rows` is larger than the test split.
    """
    folder = folder.confined()
    try:
        manifest = parse_object(folder.read(MANIFEST, LARGE_BYTES))
        content = {**manifest["shape"], "test_head_rows": test_head_rows}
        shape = DataShape.model_validate(content)
        check_shape(shape)
        shards = {split: list(manifest["shards"][split]) for split in SPLITS}
        check_entries(shards, shape)
        origin = Origin.model_validate(manifest.get("origin", {}))
    except (FileNotFoundError, ValueError, KeyError, TypeError, RefusedFileError) as error:
        raise DataError(
            f"the manifest of {folder.where()} is damaged: {error!r}",
            f"delete {folder.where()}; the data set is cut again when a job needs it",
        ) from error
    if test_head_rows > shape.test_rows:
        raise InputError(
            f"test_head_rows is {test_head_rows}, but the test split has {shape.test_rows} rows",
            "take fewer: --set dataset.test_head_rows=0",
        )
    recut_command = recut_command or f"delete {folder.where()}, submit again"
    if not standardize:
        shape = shape.model_copy(update={"input": shape.input.unscaled()})
    return PreparedData(folder, shape, shards, recut_command, origin)
