"""Data sets, before a job starts: find or download one, check its files, cut it into Parquet
shards.

A new source of data belongs here. What workers do with the rows is in `workers.shards`.
"""
