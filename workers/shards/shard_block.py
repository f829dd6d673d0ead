"""The block that stands for a shard in Ray Data: it says which files the rows of the shard are in.

It imports no torch, as the driver makes such blocks.
"""

import json
from collections.abc import Iterable

import pyarrow as pa

from workers.data.kinds import DataShape
from workers.shards.shard_files import ShardFiles

_FILES = "files"


def dataset_name(shard: int) -> str:
    """Return the name that a shard's dataset has in Ray Train."""
    return f"shard-{shard}"


def shard_block(files: ShardFiles) -> pa.Table:
    """Return the block of a shard's dataset: which files its rows are in."""
    return pa.table({_FILES: [json.dumps(files.to_json())]})


def files_of(blocks: Iterable[pa.Table], shape: DataShape) -> ShardFiles:
    """Return the files that the blocks of a shard's dataset name."""
    (content,) = (text for block in blocks for text in block.column(_FILES).to_pylist())
    return ShardFiles.from_json(json.loads(content), shape)
