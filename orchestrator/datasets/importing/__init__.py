"""Turn files of other formats into a Parquet file of sequences: CSV, NPZ and idx.

Each format is a module that yields the rows in batches; `writer` writes them, whatever the format.
No more than some batches are in memory at once. A new format belongs here. How Parquet files become
the rows of a job is not in this room.
"""
