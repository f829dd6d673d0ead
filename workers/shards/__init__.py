"""Which rows make up a step, in which order, and the proof that each row was used once.

Everything is a function of the seed, the epoch and the shard, never of the number of workers.
"""
