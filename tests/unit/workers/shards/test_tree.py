"""The tree over shards: the same sum wherever its nodes are added up."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from workers.shards.order import hosted_shards
from workers.shards.tree import children, nodes_within, stacked, tree_sum

SHARDS = st.integers(1, 40)


def leaf_rows(num_shards: int) -> dict[range, Tensor]:
    """Return a row for each shard. The order in which such rows are added changes the bits."""
    generator = torch.Generator().manual_seed(num_shards)
    rows = torch.randn(num_shards, 50, generator=generator)
    return {range(shard, shard + 1): row for shard, row in enumerate(rows)}


@given(SHARDS, st.data())
def test_the_sum_has_the_same_bits_on_any_number_of_workers(
    num_shards: int, data: st.DataObject
) -> None:
    num_workers = data.draw(st.integers(1, num_shards))
    at_root: dict[range, Tensor] = {}
    for rank in range(num_workers):
        rows = leaf_rows(num_shards)
        for node in nodes_within(num_shards, hosted_shards(num_shards, num_workers, rank)):
            at_root[node] = tree_sum(node, rows)
    found = tree_sum(range(num_shards), at_root)
    assert torch.equal(found, tree_sum(range(num_shards), leaf_rows(num_shards)))


@given(SHARDS, st.data())
def test_the_nodes_of_a_worker_are_its_shards_in_order(
    num_shards: int, data: st.DataObject
) -> None:
    num_workers = data.draw(st.integers(1, num_shards))
    hosted = hosted_shards(num_shards, num_workers, data.draw(st.integers(0, num_workers - 1)))
    nodes = nodes_within(num_shards, hosted)
    assert [shard for node in nodes for shard in node] == list(hosted)
    assert len(nodes) <= max(1, 2 * math.ceil(math.log2(num_shards + 1)))


@given(SHARDS, st.integers(1, 40))
def test_smaller_nodes_are_below_the_larger_ones(num_shards: int, most: int) -> None:
    nodes = nodes_within(num_shards, range(num_shards), most)
    assert [shard for node in nodes for shard in node] == list(range(num_shards))
    assert max(map(len, nodes)) <= most
    rows = leaf_rows(num_shards)
    by_node = {node: tree_sum(node, rows) for node in nodes}
    wanted = tree_sum(range(num_shards), leaf_rows(num_shards))
    assert torch.equal(tree_sum(range(num_shards), by_node), wanted)


def test_a_worker_with_a_power_of_two_of_the_shards_sends_one_row() -> None:
    for num_workers in (1, 2, 4, 8):
        for rank in range(num_workers):
            assert len(nodes_within(8, hosted_shards(8, num_workers, rank))) == 1


def test_the_first_child_has_a_power_of_two_of_shards() -> None:
    assert children(range(8)) == (range(4), range(4, 8))
    assert children(range(4, 7)) == (range(4, 6), range(6, 7))
    assert children(range(5)) == (range(4), range(4, 5))


def test_one_row_is_stacked_without_a_copy() -> None:
    row = torch.zeros(3)
    assert stacked([row]).data_ptr() == row.data_ptr()
    assert stacked([row, row]).shape == (2, 3)
