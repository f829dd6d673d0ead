"""Checks of what a job needs, here and on a cluster: each a small function that returns a `Check`.

A check writes nothing that stays, but for a data set's shards in the cache, and never downloads.
What one check meets does not stop the others.
"""
