"""Checks of this machine, of a cluster and of each of its nodes, each with a cure.

The checks never download anything. The only thing they leave behind is the shards of a data set in
the cache. A new check goes beside the others of its subject, and gets a line in `examine`.
"""
