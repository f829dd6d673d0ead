"""What a kind of target means: how a column of a table becomes it, its loss, and its metrics.

The kinds themselves, which are kept with a run, are in `workers.data.kinds.targets`.
"""
