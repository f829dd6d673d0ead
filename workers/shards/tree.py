"""The sum over all shards as a fixed binary tree over their numbers.

A node of the tree is a range of neighbouring shards; its value is the value of its first child plus
that of its second. The tree depends on the number of shards alone, so the sum has the same bits
wherever each node is computed. A worker hosts neighbouring shards, adds up the nodes that it has
whole, and sends only the largest of them: at most twice log2 S rows instead of S/W, and one row
where W divides S into powers of two. Errors of rounding grow with log2 S instead of S.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def children(node: range) -> tuple[range, range]:
    """Return the two children of a node of at least two shards.

    The first has the largest power of two of shards that leaves some for the second.
    """
    size = 1 << (len(node) - 1).bit_length() - 1
    return node[:size], node[size:]


def nodes_within(num_shards: int, hosted: range, max_shards: int | None = None) -> list[range]:
    """Return the largest nodes of the tree that lie within `hosted`, in the order of their shards.

    Together they are all hosted shards. `max_shards` limits the shards of a node.
    """

    def within(node: range) -> list[range]:
        if node.stop <= hosted.start or hosted.stop <= node.start:
            return []
        is_inside = hosted.start <= node.start and node.stop <= hosted.stop
        if is_inside and len(node) <= (max_shards or num_shards):
            return [node]
        first, second = children(node)
        return within(first) + within(second)

    return within(range(num_shards))


def tree_sum(node: range, rows: Mapping[range, Tensor]) -> Tensor:
    """Return the value of a node from the rows of nodes below it. It overwrites some of them."""
    if node in rows:
        return rows[node]
    first, second = children(node)
    return tree_sum(first, rows).add_(tree_sum(second, rows))


def stacked(rows: Sequence[Tensor]) -> Tensor:
    """Return rows (N) as one tensor (K, N): a single one, which may be large, without a copy."""
    return rows[0].unsqueeze(0) if len(rows) == 1 else torch.stack(list(rows))
