"""Which rows make up a step, where they are, in memory or in the shards' files, and the proof that
each was used once.

Everything is a function of the seed, the epoch and the shard, never of the number of workers.
"""
