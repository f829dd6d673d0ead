"""Hashes of the rows of a data set: in their order, and in any order.

They are of the rows as training sees them. So they do not depend on row groups, files, compression,
shards, or on whether a number was written as float32 or as an equal float64.
"""

import hashlib
import json

import numpy as np
import pyarrow as pa

from workers.data.kinds import SequenceInput, Target

_MODULUS = 2**256


class Digests:
    """The hashes of rows, which are added split by split in their order."""

    def __init__(self, kind: SequenceInput, target: Target) -> None:
        head = json.dumps([kind.identity, target.identity]).encode()
        self._head = hashlib.sha256(head).digest()
        self._ordered = hashlib.sha256(self._head)
        self._sum = 0

    def add(self, split: str, rows: pa.RecordBatch) -> None:
        """Add rows of a split, with the columns of `shard_schema`."""
        inputs, targets = rows.columns
        values = inputs.flatten().to_numpy()
        ends = np.asarray(inputs.value_lengths()).cumsum().tolist()
        numbers = targets.to_numpy()
        start = 0
        for row, end in enumerate(ends):
            digest = hashlib.sha256(f"{split}/{end - start}/".encode())
            digest.update(values[start:end].tobytes())
            digest.update(numbers[row].tobytes())
            self._ordered.update(digest.digest())
            self._sum += int.from_bytes(digest.digest(), "big")
            start = end

    @property
    def fingerprint(self) -> str:
        """A SHA-256 of all rows in their order."""
        return self._ordered.hexdigest()

    @property
    def rows_digest(self) -> str:
        """A SHA-256 of all rows that does not depend on their order within each split."""
        total = (self._sum % _MODULUS).to_bytes(32, "big")
        return hashlib.sha256(self._head + total).hexdigest()
